"""Guests without an agent: the kits by which they are asked."""
