"""Callers at the local door: who they are by the kernel's word, and who is admitted."""

from __future__ import annotations

import asyncio
import dataclasses
import grp
import os
import pwd
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Self, cast

from starlette.types import ASGIApp, Receive, Scope, Send

from innkeeper.errors import NotPermitted
from innkeeper.identity.caller import SYSTEM_REALM, Caller, Proof
from innkeeper.identity.grants import Grants
from innkeeper.identity.realms import Known
from innkeeper.identity.roles import Grant, Role
from innkeeper.server.http.crowd import Crowd
from innkeeper.server.http.limited import LimitedProtocol, LimitedSocketProtocol
from innkeeper.server.settings import Settings

#: Where a request's scope names the peer.
PEER = "innkeeper.peer"

#: How long the system's word on a user is believed: asking can take long.
_BELIEVED_SECONDS = 2.0
_MAX_KNOWN = 1024


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Credentials:
    """Process, user and group at the other end of a Unix socket (``SO_PEERCRED``)."""

    pid: int
    uid: int
    gid: int


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Admission:
    """The users of the local socket besides root and the service's own user, with their role."""

    group: str | None = None
    users: tuple[str, ...] = ()
    #: What the group's members and these users are.
    role: Role = Role.ADMINISTRATOR

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the admission that the settings describe."""
        role = Role[settings.socket_role.upper()]
        return cls(group=settings.socket_group, users=settings.socket_users, role=role)

    async def standing(self, realm: str, known: Known) -> tuple[Grant, ...]:
        """Return the role of a user of this computer without a grant."""
        if realm != SYSTEM_REALM:
            return ()
        role = await asyncio.to_thread(self._role_of_user, known.user)
        return () if role is None else (Grant(role=role),)

    def _role_of_user(self, name: str) -> Role | None:
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            return None
        return self.role_of(Credentials(pid=0, uid=user.pw_uid, gid=user.pw_gid), name)

    def admits(self, credentials: Credentials, name: str) -> bool:
        """Whether a user may connect. Asks the system's user database, which can block."""
        return self.role_of(credentials, name) is not None

    def role_of(self, credentials: Credentials, name: str) -> Role | None:
        """Return a user's role on the whole service. Asks the system's user database, which can block."""
        if credentials.uid in (0, os.getuid()):
            return Role.ADMINISTRATOR
        if name in self.users or (self.group is not None and self.group in group_names(credentials, name)):
            return self.role
        return None


def user_name(uid: int) -> str:
    """Return the user's name, or ``uid:1234`` for an unknown one. Can block."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid:{uid}"


def group_names(credentials: Credentials, name: str) -> frozenset[str]:
    """Return the groups that the system has the user in. Can block."""
    found = set()
    for number in {credentials.gid, *os.getgrouplist(name, credentials.gid)}:
        try:
            found.add(grp.getgrgid(number).gr_name)
        except KeyError:
            continue
    return frozenset(found)


class PeerProtocol(LimitedProtocol):
    """HTTP over a Unix socket, with the peer's credentials in the request's scope."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Read the peer's credentials, once a connection."""
        super().connection_made(transport)
        self.app = _with_peer(self.app, transport)

    def who(self) -> str:
        """Return the user at the other end."""
        return _counted_as(_credentials(self.transport.get_extra_info("socket")).uid)


class PeerSocketProtocol(LimitedSocketProtocol):
    """WebSockets over a Unix socket, with the peer's credentials in the scope."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Read the peer's credentials, once a connection."""
        super().connection_made(transport)
        self.app = _with_peer(self.app, transport)

    def who(self) -> str:
        """Return the user at the other end."""
        return _counted_as(_credentials(self.transport.get_extra_info("socket")).uid)


def local_protocols(settings: Settings) -> tuple[type[PeerProtocol], type[PeerSocketProtocol]]:
    """Return the protocols of one service's local door, which share one count of connections.

    However many others are in, root and the service's own user still find places.
    """
    crowd = Crowd(
        most=settings.max_connections,
        most_from_one=settings.max_connections_from_one,
        rulers={_counted_as(0), _counted_as(os.getuid())},
    )
    return (
        type("LocalProtocol", (PeerProtocol,), {"crowd": crowd}),
        type("LocalSocketProtocol", (PeerSocketProtocol,), {"crowd": crowd}),
    )


def _counted_as(uid: int) -> str:
    return f"uid {uid}"


def _with_peer(app: object, transport: asyncio.BaseTransport) -> ASGIApp:
    credentials = _credentials(transport.get_extra_info("socket"))
    inner = cast("Callable[[Scope, Receive, Send], Awaitable[None]]", app)

    async def with_peer(scope: Scope, receive: Receive, send: Send) -> None:
        scope[PEER] = credentials
        await inner(scope, receive, send)

    return with_peer


def _credentials(connection: socket.socket) -> Credentials:
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, gid = struct.unpack("3i", packed)
    return Credentials(pid=pid, uid=uid, gid=gid)


class Peers:
    """Authenticates the callers at the local door."""

    def __init__(self, admission: Admission, grants: Grants | None = None) -> None:
        self._admission = admission
        self._grants = grants
        self._known: dict[tuple[int, int], tuple[float, Caller]] = {}

    async def caller(self, credentials: Credentials, *, anew: bool = False) -> Caller:
        """Return the caller. Raises ``NotPermitted`` (0x80070005) for who may not use the door.

        ``anew``: the system is asked, whatever it said a moment ago.
        """
        key, now = (credentials.uid, credentials.gid), asyncio.get_running_loop().time()
        believed = self._known.get(key)
        if not anew and believed is not None and now - believed[0] < _BELIEVED_SECONDS:
            return believed[1]
        name, groups, role = await asyncio.to_thread(self._look_up, credentials)
        # Who rules the inn is given no more by the tables, and asks what is wrong while those are away.
        rules = role is Role.ADMINISTRATOR
        given = () if rules else await self._given(Known(user=name, groups=groups))
        own = () if role is None else (Grant(role=role),)
        caller = _caller(name, groups, (*own, *given))
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known[key] = (now, caller)
        return caller

    async def _given(self, known: Known) -> tuple[Grant, ...]:
        return await self._grants.of(SYSTEM_REALM, known) if self._grants is not None else ()

    def _look_up(self, credentials: Credentials) -> tuple[str, frozenset[str], Role | None]:
        name = user_name(credentials.uid)
        return name, group_names(credentials, name), self._admission.role_of(credentials, name)


def _caller(name: str, groups: frozenset[str], grants: tuple[Grant, ...]) -> Caller:
    if not grants:
        raise NotPermitted(
            f"The user {name} may not use this service.",
            advice="Root, the service's own user, and the members of its `socket_group` may.",
        )
    return Caller(user=name, realm=SYSTEM_REALM, proof=Proof.PEER, groups=groups, grants=grants)
