"""Look after virtual machines: their life, devices, guests, undo disks."""
