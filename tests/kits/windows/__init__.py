"""The kit for Windows guests."""
