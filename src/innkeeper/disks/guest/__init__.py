"""Find out what a guest does not use, from its file systems, trusting nothing that is found."""
