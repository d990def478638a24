"""Find the free room of a guest's file systems, trusting nothing that is read from them."""
