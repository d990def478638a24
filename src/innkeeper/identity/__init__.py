"""Know who calls, and what they may: callers, roles, accounts, tokens, sessions, and the audit log."""
