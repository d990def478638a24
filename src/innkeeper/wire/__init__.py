"""Say what processes say to each other: HTTP messages, events and guest frames; pure data."""
