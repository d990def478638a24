"""Events: what happened, told to the rooms of this server and to viewers at any."""
