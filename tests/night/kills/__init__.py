"""Trials that are cut short by kills, by what they try."""
