"""Calls that are about the servers that share a database."""

from __future__ import annotations

from innkeeper.client.calls.call import Call, get, post, quoted
from innkeeper.wire import servers as wire


def servers() -> Call[wire.ServerList]:
    """All servers."""
    return get("/v1/servers", wire.ServerList)


def server(name: str) -> Call[wire.ServerMessage]:
    """One server."""
    return get(f"/v1/servers/{quoted(name)}", wire.ServerMessage)


def drain(name: str) -> Call[wire.ServerMessage]:
    """Drain a server."""
    return post(f"/v1/servers/{quoted(name)}/drain", wire.ServerMessage)


def join(name: str) -> Call[wire.ServerMessage]:
    """Bring a drained server back to work."""
    return post(f"/v1/servers/{quoted(name)}/join", wire.ServerMessage)


def retire(name: str, *, living: bool) -> Call[wire.ServerMessage]:
    """Give up a server's name."""
    request = wire.RetireRequest(living=living)
    return post(f"/v1/servers/{quoted(name)}/retire", wire.ServerMessage, request)
