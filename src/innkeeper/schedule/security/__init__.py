"""Security descriptors of folders and tasks."""
