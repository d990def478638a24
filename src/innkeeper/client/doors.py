"""Reach a service: by the socket on this computer, or over the network."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import httpx

from innkeeper.client.addresses import Address
from innkeeper.client.known_inns import KnownInns, changed, no_path
from innkeeper.errors import InnkeeperError, NotPermitted, ServiceError

if TYPE_CHECKING:  # few programs open a WebSocket
    from websockets.sync.client import ClientConnection

#: On a loop many wait at the same time, each on a connection of its own.
_MANY = httpx.Limits(max_connections=1000, max_keepalive_connections=20)

_UNLIMITED: dict[str, None] = {"compression": None, "max_size": None, "proxy": None}


class Door(Protocol):
    """One way to one service."""

    @property
    def place(self) -> str:
        """The service's address, for a person."""

    @property
    def is_local(self) -> bool:
        """Whether the service's files and sockets are those of this computer."""

    def http(self, token: str) -> httpx.Client:
        """Speak HTTP through it, as whoever has the token; as oneself where it is empty."""

    def on_loop(self) -> httpx.AsyncBaseTransport:
        """Carry HTTP through it on an event loop."""

    def join(self, path: str, token: str) -> ClientConnection:
        """Open a WebSocket; raises websockets' errors."""

    def unreachable(self, error: httpx.ConnectError) -> InnkeeperError:
        """Return the error for a missing connection."""


class LocalDoor:
    """The socket of a service on this computer."""

    is_local = True

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    @property
    def place(self) -> str:
        """The socket's path."""
        return str(self._socket)

    def http(self, token: str) -> httpx.Client:
        """Speak HTTP through it."""
        transport = httpx.HTTPTransport(uds=str(self._socket), verify=False)  # it has no TLS
        return httpx.Client(
            transport=transport, base_url="http://innkeeper", trust_env=False, headers=_proof(token)
        )

    def on_loop(self) -> httpx.AsyncBaseTransport:
        """Carry HTTP through it on an event loop."""
        return httpx.AsyncHTTPTransport(uds=str(self._socket), verify=False, limits=_MANY)

    def join(self, path: str, token: str) -> ClientConnection:
        """Open a WebSocket."""
        from websockets.sync.client import unix_connect

        where = f"ws://innkeeper{path}"
        return _entered(
            unix_connect(str(self._socket), where, additional_headers=_proof(token), **_UNLIMITED)
        )

    def unreachable(self, error: httpx.ConnectError) -> InnkeeperError:
        """0x80070005 where the socket is closed to this user, else 0x80041315."""
        if self._socket.exists() and not os.access(self._socket, os.W_OK):
            return NotPermitted(
                f"You may not use the service's socket {self._socket}.",
                advice="Ask for membership in the group that the service's settings name (`socket_group`).",
            )
        return not_running(self._socket)


class RemoteDoor:
    """A service on another computer."""

    def __init__(self, address: Address, context: ssl.SSLContext | None) -> None:
        self._address = address
        self._context = context

    @classmethod
    def known(cls, address: Address, inns: KnownInns, *, fingerprint: str = "") -> RemoteDoor:
        """The door there, by what is known of its certificate."""
        return cls(address, inns.trust(address, fingerprint=fingerprint) if address.tls else None)

    is_local = False

    @property
    def place(self) -> str:
        """The address."""
        return str(self._address)

    def http(self, token: str) -> httpx.Client:
        """Speak HTTP through it; proxies and passwords of the environment are left alone."""
        verify = self._context if self._context is not None else False
        return httpx.Client(base_url=self._address.url, verify=verify, trust_env=False, headers=_proof(token))

    def on_loop(self) -> httpx.AsyncBaseTransport:
        """Carry HTTP through it on an event loop."""
        verify = self._context if self._context is not None else False
        return httpx.AsyncHTTPTransport(verify=verify, trust_env=False, limits=_MANY)

    def join(self, path: str, token: str) -> ClientConnection:
        """Open a WebSocket."""
        from websockets.sync.client import connect

        where = f"{self._address.url.replace('http', 'ws', 1)}{path}"
        return _entered(connect(where, ssl=self._context, additional_headers=_proof(token), **_UNLIMITED))

    def unreachable(self, error: httpx.ConnectError) -> InnkeeperError:
        """0x800B0109 for another certificate, else 53 as 0x80070035."""
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return changed(self._address, "It may have been made anew, or this is another service.")
        return no_path(self._address, _reason(error))


def not_running(*sockets: Path) -> ServiceError:
    """The error for a service that nobody has started (0x80041315)."""
    places = " or ".join(map(str, sockets))
    return ServiceError(
        f"The Innkeeper service is not running: nothing listens at {places}.",
        advice="Start it with `systemctl start innkeeper` or `innkeeper serve`, "
        "or name its socket with --socket or INNKEEPER_SOCKET.",
    )


def _entered(joining: ClientConnection) -> ClientConnection:
    # It outlives this call, so there is no `with`; websockets wants it entered all the same (from 17.1 on).
    return joining.__enter__()


def _proof(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _reason(error: BaseException) -> str:
    """Return the system's error text, without its number."""
    return str(error).partition("] ")[2] or str(error)
