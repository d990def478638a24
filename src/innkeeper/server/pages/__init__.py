"""Show the inn as pages: server-rendered, live, and clients of the HTTP API like everybody else."""
