"""Start programs that read what a guest wrote, with as few rights as they can do with."""
