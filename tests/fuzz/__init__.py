"""Feed whatever comes from outside with bytes that nobody would write: ``python -m tests.fuzz TARGET``."""
