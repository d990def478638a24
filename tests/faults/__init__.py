"""Let everything around the service fail, and tell what was promised and what was seen: ``make faults``."""
