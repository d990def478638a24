"""Starting and running scheduled tasks."""
