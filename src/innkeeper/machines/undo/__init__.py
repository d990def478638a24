"""Undo points and undo disks of machines."""
