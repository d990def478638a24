"""Select what happened as the Windows event log does: Event XML, and the queries over it."""
