"""Pages for browsers: server-rendered, live, and clients of the HTTP API like everybody else."""
