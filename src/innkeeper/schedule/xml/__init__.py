"""XML of task definitions, read and written as Windows does."""
