"""The version of the agent."""

#: Sent in the agent's greeting.
VERSION = "0.1.0"
