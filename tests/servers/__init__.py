"""Servers and the hosts that they own."""
