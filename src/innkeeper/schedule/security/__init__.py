"""Say who may do what with folders and tasks, in the descriptors' own language."""
