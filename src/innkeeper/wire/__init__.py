"""Messages between processes: HTTP bodies, events and guest frames. Pure data."""
