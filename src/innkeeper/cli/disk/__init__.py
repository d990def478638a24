"""Virtual hard disks on the command line."""
