"""Run the demo: one night on three real machines."""
