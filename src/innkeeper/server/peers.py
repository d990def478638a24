"""Know who is at the other end of the local door, and let in only those who may be."""

from __future__ import annotations

import asyncio
import dataclasses
import grp
import os
import pwd
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import cast

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from innkeeper.errors import NotPermitted
from innkeeper.server.problems import response_of

#: Where a request's scope names the peer.
PEER = "innkeeper.peer"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """What the kernel says of a process at the other end (``SO_PEERCRED``)."""

    pid: int
    uid: int
    gid: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Admission:
    """Who may use the local door, besides root and the service's own user."""

    group: str | None = None
    users: tuple[str, ...] = ()

    def admits(self, credentials: Credentials, name: str) -> bool:
        """Whether they may. Asks the system's user database, which can block."""
        if credentials.uid in (0, os.getuid()) or name in self.users:
            return True
        if self.group is None:
            return False
        try:
            wanted = grp.getgrnam(self.group).gr_gid
        except KeyError:
            return False
        return wanted in os.getgrouplist(name, credentials.gid)


def user_name(uid: int) -> str:
    """The user's name, or ``uid:1234`` for one the system does not know. Can block."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid:{uid}"


class PeerProtocol(H11Protocol):
    """HTTP over a Unix socket that tells the application who is at the other end."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Ask the kernel once for each connection."""
        super().connection_made(transport)
        credentials = _credentials(transport.get_extra_info("socket"))
        inner = cast("Callable[[Scope, Receive, Send], Awaitable[None]]", self.app)

        async def with_peer(scope: Scope, receive: Receive, send: Send) -> None:
            await inner({**scope, PEER: credentials}, receive, send)

        self.app = with_peer


def _credentials(connection: socket.socket) -> Credentials:
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, gid = struct.unpack("3i", packed)
    return Credentials(pid=pid, uid=uid, gid=gid)


class PeerCheck:
    """Middleware: turns away whoever may not use the local door, and names the user to those behind it."""

    def __init__(self, app: ASGIApp, admission: Admission) -> None:
        self._app = app
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer with 0x80070005."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        credentials: Credentials = scope[PEER]
        name, admitted = await asyncio.to_thread(self._look_up, credentials)
        if admitted:
            await self._app({**scope, "user": name}, receive, send)
            return
        refused = NotPermitted(
            f"The user {name} may not use this service.",
            advice="Root, the service's own user, and the members of its `socket_group` may.",
        )
        await response_of(refused)(scope, receive, send)

    def _look_up(self, credentials: Credentials) -> tuple[str, bool]:
        name = user_name(credentials.uid)
        return name, self._admission.admits(credentials, name)
