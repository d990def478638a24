"""Work out when a task runs: pure arithmetic on days, zones and rules."""
