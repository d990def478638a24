"""Carry machines on libvirt, or on the fake that stands for it."""
