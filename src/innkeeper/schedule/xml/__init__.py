"""Read and write task definitions as Windows does."""
