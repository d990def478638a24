"""Contract suites: one a port of a host, each run over every implementation."""
