"""Rig for the benchmarks of channels: a guest, a service, and four ways between them."""
