"""Measure Innkeeper beside its peers: one program a room."""
