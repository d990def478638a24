"""Whole nights on real guests."""
