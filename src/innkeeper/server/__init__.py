"""Serve Innkeeper: composition root, HTTP door, events."""
