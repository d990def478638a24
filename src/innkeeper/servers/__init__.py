"""Servers that share one database, and the hosts that each of them owns."""
