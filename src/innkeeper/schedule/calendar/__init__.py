"""Calendar arithmetic of tasks: days, zones and rules. Pure."""
