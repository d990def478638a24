"""Servers of one inn ask one another."""
