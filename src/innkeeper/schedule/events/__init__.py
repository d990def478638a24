"""Event selection as in the Windows event log: Event XML, and queries over it."""
