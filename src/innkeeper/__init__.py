"""Look after the virtual machines on Linux hosts."""
