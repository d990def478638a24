"""Hosts of virtual machines: libvirt's, and a simulated one."""
