"""What machines need from a host that carries them: one module a port, and ``Host``, which has them all."""
