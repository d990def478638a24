"""Screens, keyboards and mice of machines."""
