"""Nights on real guests, each with what goes wrong in the field: the verdict that each has to come to."""
