"""Hear what happens on a Linux computer: its starts, its people, its load, its journal."""
