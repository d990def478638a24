"""One night on three real machines."""
