"""Callers and what they may do: roles, accounts, tokens, sessions, and the audit log."""
