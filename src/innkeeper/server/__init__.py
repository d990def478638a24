"""The service: composition root, HTTP interface, pages, events."""
