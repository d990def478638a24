"""The operating systems inside machines."""
