"""Ports of a host that carries machines: one module a port, and ``Host``, which has them all."""
