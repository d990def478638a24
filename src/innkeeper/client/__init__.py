"""Connect to an inn and use its objects remotely."""
