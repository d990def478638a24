"""Answer requests: one file a noun."""
