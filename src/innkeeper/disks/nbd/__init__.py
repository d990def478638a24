"""Export a disk to QEMU and others by the network block device protocol."""
