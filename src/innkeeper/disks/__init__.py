"""Work on virtual hard disks: the VHD engine, chains, conversions."""
