"""Definitions of scheduled tasks: the object model."""
