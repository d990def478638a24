"""Sources of occasions on a Linux computer: starts, sessions, load, journal."""
