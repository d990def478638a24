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
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from innkeeper.errors import NotPermitted
from innkeeper.identity.caller import SYSTEM_REALM, Caller, Proof
from innkeeper.identity.roles import Grant, Role

#: Where a request's scope names the peer.
PEER = "innkeeper.peer"

#: How long the system's word on a user is believed: asking can take long.
_BELIEVED_SECONDS = 5.0
_MAX_KNOWN = 1024


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """What the kernel says of a process at the other end (``SO_PEERCRED``)."""

    pid: int
    uid: int
    gid: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Admission:
    """Who may use the local door, besides root and the service's own user, and as what."""

    group: str | None = None
    users: tuple[str, ...] = ()
    #: What the group's members and these users are.
    role: Role = Role.ADMINISTRATOR

    def admits(self, credentials: Credentials, name: str) -> bool:
        """Whether they may. Asks the system's user database, which can block."""
        return self.role_of(credentials, name) is not None

    def role_of(self, credentials: Credentials, name: str) -> Role | None:
        """What they are on the whole inn. Asks the system's user database, which can block."""
        if credentials.uid in (0, os.getuid()):
            return Role.ADMINISTRATOR
        if name in self.users or (self.group is not None and self.group in group_names(credentials, name)):
            return self.role
        return None


def user_name(uid: int) -> str:
    """The user's name, or ``uid:1234`` for one the system does not know. Can block."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid:{uid}"


def group_names(credentials: Credentials, name: str) -> frozenset[str]:
    """The groups that the system has the user in. Can block."""
    found = set()
    for number in {credentials.gid, *os.getgrouplist(name, credentials.gid)}:
        try:
            found.add(grp.getgrgid(number).gr_name)
        except KeyError:
            continue
    return frozenset(found)


class PeerProtocol(H11Protocol):
    """HTTP over a Unix socket that tells the application who is at the other end."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Ask the kernel once for each connection."""
        super().connection_made(transport)
        self.app = _with_peer(self.app, transport)


class PeerSocketProtocol(WebSocketsSansIOProtocol):
    """WebSockets over a Unix socket, in the same way."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask the kernel once for each connection."""
        super().connection_made(transport)
        self.app = self._answered(_with_peer(self.app, transport))

    def _answered(self, app: ASGIApp) -> ASGIApp:
        """uvicorn takes a refusal for an answer that was forgotten, and says so in the log."""

        async def answered(scope: Scope, receive: Receive, send: Send) -> None:
            await app(scope, receive, send)
            self.handshake_complete = self.handshake_complete or self.initial_response is not None

        return answered


def _with_peer(app: object, transport: asyncio.BaseTransport) -> ASGIApp:
    credentials = _credentials(transport.get_extra_info("socket"))
    inner = cast("Callable[[Scope, Receive, Send], Awaitable[None]]", app)

    async def with_peer(scope: Scope, receive: Receive, send: Send) -> None:
        await inner({**scope, PEER: credentials}, receive, send)

    return with_peer


def _credentials(connection: socket.socket) -> Credentials:
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, gid = struct.unpack("3i", packed)
    return Credentials(pid=pid, uid=uid, gid=gid)


class Peers:
    """Knows the callers at the local door."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._known: dict[tuple[int, int], tuple[float, Caller]] = {}

    async def caller(self, credentials: Credentials) -> Caller:
        """Who is at the other end. Raises ``NotPermitted`` (0x80070005) for who may not use the door."""
        key, now = (credentials.uid, credentials.gid), asyncio.get_running_loop().time()
        believed = self._known.get(key)
        if believed is not None and now - believed[0] < _BELIEVED_SECONDS:
            return believed[1]
        caller = await asyncio.to_thread(self._look_up, credentials)
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known[key] = (now, caller)
        return caller

    def _look_up(self, credentials: Credentials) -> Caller:
        name = user_name(credentials.uid)
        role = self._admission.role_of(credentials, name)
        if role is None:
            raise NotPermitted(
                f"The user {name} may not use this service.",
                advice="Root, the service's own user, and the members of its `socket_group` may.",
            )
        return Caller(
            user=name,
            realm=SYSTEM_REALM,
            proof=Proof.PEER,
            groups=group_names(credentials, name),
            grants=(Grant(role=role),),
        )
