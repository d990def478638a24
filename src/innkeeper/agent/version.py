"""Say which agent this is."""

#: Sent in the agent's greeting.
VERSION = "0.1.0"
