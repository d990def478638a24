"""The simulated host: machines, disks, guests and screens without QEMU."""
