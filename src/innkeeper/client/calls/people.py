"""Calls that are about people: accounts, roles, tokens, and what they did."""

from __future__ import annotations

import dataclasses

from innkeeper.client.calls.call import Call, Query, delete, get, post, put, quoted
from innkeeper.wire import audit
from innkeeper.wire import identity as wire
from innkeeper.wire.messages import Nothing

#: The whole log is read for it.
_VERIFY_SECONDS = 600.0


def users() -> Call[wire.UserList]:
    """All accounts, and who has a role."""
    return get("/v1/users", wire.UserList)


def add_user(request: wire.AddUserRequest) -> Call[wire.UserMessage]:
    """Add an account."""
    return post("/v1/users", wire.UserMessage, request)


def remove_user(name: str) -> Call[Nothing]:
    """Remove an account."""
    return delete(f"/v1/users/{quoted(name)}")


def set_password(name: str, request: wire.PasswordRequest) -> Call[wire.UserMessage]:
    """Set the password of an account."""
    return put(f"/v1/users/{quoted(name)}/password", wire.UserMessage, request)


def set_own_password(request: wire.OwnPasswordRequest) -> Call[Nothing]:
    """Set the password of the caller's account."""
    return put("/v1/password", Nothing, request)


def enable_user(name: str, request: wire.EnableUserRequest) -> Call[wire.UserMessage]:
    """Open or close an account."""
    return put(f"/v1/users/{quoted(name)}/enabled", wire.UserMessage, request)


def give_role(request: wire.GrantRequest) -> Call[wire.GrantMessage]:
    """Give a role."""
    return post("/v1/roles", wire.GrantMessage, request)


def take_role(query: Query) -> Call[Nothing]:
    """Take a role back: of a ``holder`` of a ``realm``, on what ``reach`` and ``name`` say."""
    return delete("/v1/roles", **query)


def tokens(everybodys: bool) -> Call[wire.TokenList]:
    """The caller's tokens, or everybody's."""
    return get("/v1/tokens", wire.TokenList, everybodys=everybodys)


def make_token(request: wire.TokenRequest) -> Call[wire.TokenMade]:
    """Make a token."""
    return post("/v1/tokens", wire.TokenMade, request)


def revoke_token(token_id: str) -> Call[Nothing]:
    """End a token."""
    return delete(f"/v1/tokens/{quoted(token_id)}")


def sessions(everybodys: bool) -> Call[wire.SessionList]:
    """The caller's sessions, or everybody's."""
    return get("/v1/sessions", wire.SessionList, everybodys=everybodys)


def end_session(session_id: str) -> Call[Nothing]:
    """End a session."""
    return delete(f"/v1/sessions/{quoted(session_id)}")


def end_sessions(user: str, realm: str) -> Call[wire.SessionsEnded]:
    """End all sessions of a person; the caller's own where no name is given."""
    return Call(
        method="DELETE",
        path="/v1/sessions",
        answer=wire.SessionsEnded,
        query={"user": user, "realm": realm},
    )


def log_in_by_ticket() -> Call[wire.LoginMessage]:
    """Begin a session by a Kerberos ticket, which travels in a header."""
    return post("/v1/login/ticket", wire.LoginMessage)


def audit_log(query: Query) -> Call[audit.AuditList]:
    """Entries of the audit log, newest first."""
    return get("/v1/audit", audit.AuditList, **query)


def verify_audit_log(number: int | None, seal: str | None) -> Call[audit.AuditVerdict]:
    """Check the audit log against changes."""
    call = get("/v1/audit/verify", audit.AuditVerdict, number=number, seal=seal)
    return dataclasses.replace(call, timeout_seconds=_VERIFY_SECONDS)
