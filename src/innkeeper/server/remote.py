"""The remote door: HTTP over TCP, with TLS unless it stays on this computer."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import ipaddress
import socket
import ssl
from collections.abc import Iterator, Sequence

import h11

from innkeeper.errors import ErrorCode, InvalidArgument
from innkeeper.identity.lockout import network_of
from innkeeper.server.http.connections import HttpProtocol
from innkeeper.server.http.forwarded import Network, is_trusted, proxies_of
from innkeeper.server.http.serving import FULL
from innkeeper.server.identity.certificates import Certificate, names_in, self_made
from innkeeper.server.peers import SocketProtocol
from innkeeper.server.settings import Settings

#: A TLS handshake, and a request's line and headers, must be there within this.
TIMEOUT_SECONDS = 10.0

_BACKLOG = 512


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """An address to listen on."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Parse ``HOST:PORT``, ``[::1]:8443`` or ``:8443`` for all addresses. Raises ``InvalidArgument``."""
        host, colon, port = text.rpartition(":")
        if not colon or not port.isdecimal() or int(port) > 65535:
            raise InvalidArgument(
                f"“{text}” is not an address to listen on.",
                advice="Write HOST:PORT, for example 0.0.0.0:8443.",
            )
        return cls(host=host.strip("[]") or "::", port=int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether only this computer can reach the address."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RemoteDoor:
    """Listening sockets, and their TLS context."""

    sockets: Sequence[socket.socket]
    #: ``None`` for plain HTTP.
    tls: ssl.SSLContext | None
    #: Of the certificate; empty without TLS.
    fingerprint: str = ""

    @property
    def addresses(self) -> tuple[str, ...]:
        """URLs of the service."""
        scheme = "https" if self.tls is not None else "http"
        return tuple(f"{scheme}://{_say(each)}" for each in self.sockets)


@contextlib.contextmanager
def remote_doors(settings: Settings) -> Iterator[list[RemoteDoor]]:
    """Listen on the configured addresses; closed at the end of the context."""
    addresses = [Address.parse(text) for text in settings.listen]
    safe = [address for address in addresses if _wants_tls(settings, address)]
    plain = [address for address in addresses if not _wants_tls(settings, address)]
    with contextlib.ExitStack() as opened:
        doors = []
        if safe:
            certificate = _certificate(settings, safe)
            sockets = [opened.enter_context(listening_on(address)) for address in safe]
            doors.append(
                RemoteDoor(sockets=sockets, tls=certificate.context(), fingerprint=certificate.fingerprint)
            )
        if plain:
            sockets = [opened.enter_context(listening_on(address)) for address in plain]
            doors.append(RemoteDoor(sockets=sockets, tls=None))
        yield doors


def _wants_tls(settings: Settings, address: Address) -> bool:
    if settings.tls is not None:
        return settings.tls
    return settings.tls_certificate is not None or not address.is_loopback


def _certificate(settings: Settings, addresses: Sequence[Address]) -> Certificate:
    if settings.tls_certificate is None:
        return self_made(settings.state_dir / "tls", [address.host for address in addresses])
    # A file may hold both.
    key = settings.tls_key or settings.tls_certificate
    return Certificate(certificate=settings.tls_certificate, key=key)


def listening_on(address: Address) -> socket.socket:
    """Listen on an address. Raises ``InvalidArgument`` where that cannot be. Blocks."""
    try:
        family, *_, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        dual = family == socket.AF_INET6 and address.host == "::" and socket.has_dualstack_ipv6()
        return socket.create_server(where[:2], family=family, backlog=_BACKLOG, dualstack_ipv6=dual)
    except OSError as error:
        raise InvalidArgument(
            f"The service cannot listen on {address.host}:{address.port}: {error.strerror}.",
            code=ErrorCode.ERROR_PATH_NOT_FOUND,
            advice="Name another address, with --listen or the setting `listen` (or `peer_listen`).",
        ) from error


def host_names(settings: Settings) -> frozenset[str]:
    """The names by which other computers may reach the service, in lower case."""
    names = {socket.gethostname(), "localhost", *settings.host_names}
    names |= {Address.parse(text).host for text in settings.listen}
    names |= {realm.service.partition("@")[2] for realm in settings.kerberos}
    if settings.tls_certificate is not None:
        names |= names_in(settings.tls_certificate)
    return frozenset(name.lower().rstrip(".") for name in names if name)


def _say(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Crowd:
    """Counts connections, in all and by address."""

    def __init__(self, *, most: int, most_from_one: int, proxies: Sequence[Network] = ()) -> None:
        """``proxies`` are not held to ``most_from_one``: each stands for many."""
        self._proxies = proxies
        self._most = most
        self._most_from_one = most_from_one
        self._by_network: collections.Counter[str] = collections.Counter()

    def enter(self, address: str) -> bool:
        """Whether one more connection from an address is admitted."""
        network = network_of(address)
        is_full = self._by_network[network] >= self._most_from_one and not is_trusted(self._proxies, address)
        if is_full or self._by_network.total() >= self._most:
            return False
        self._by_network[network] += 1
        return True

    def leave(self, address: str) -> None:
        """Count one connection less from an address."""
        network = network_of(address)
        self._by_network[network] -= 1
        if self._by_network[network] <= 0:
            del self._by_network[network]


class RemoteProtocol(HttpProtocol):
    """HTTP for remote callers, with limits on connections and on the time a request's head may take."""

    crowd: Crowd
    _entered = False
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Admit the connection, or answer 503."""
        super().connection_made(transport)
        self._entered = self.crowd.enter(self._address)
        if not self._entered:
            transport.write(FULL)
            transport.close()
            return
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Read on; a head must be complete in time, however slowly its bytes drip in."""
        if not self._entered:
            return
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._await_head()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Free the connection's place."""
        self._leave()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over to the WebSocket protocol, which counts it from now on."""
        self._leave()
        super().handle_websocket_upgrade(event)

    @property
    def _address(self) -> str:
        return self.client[0] if self.client else ""

    def _await_head(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(TIMEOUT_SECONDS, self.transport.abort)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _leave(self) -> None:
        self._stop_waiting()
        if self._entered:
            self._entered = False
            self.crowd.leave(self._address)


class RemoteSocketProtocol(SocketProtocol):
    """WebSockets for remote callers; each counts as the connection that it was before."""

    crowd: Crowd
    _address = ""
    _entered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the place that the connection has just left."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self._entered = self.crowd.enter(self._address)

    def connection_lost(self, exc: Exception | None) -> None:
        """Free the connection's place."""
        if self._entered:
            self.crowd.leave(self._address)
        super().connection_lost(exc)


def remote_protocols(settings: Settings) -> tuple[type[RemoteProtocol], type[RemoteSocketProtocol]]:
    """Return the protocols of one service's remote doors, which share one count of connections."""
    crowd = Crowd(
        most=settings.max_connections,
        most_from_one=settings.max_connections_from_one,
        proxies=proxies_of(settings.trusted_proxies),
    )
    return (
        type("RemoteProtocol", (RemoteProtocol,), {"crowd": crowd}),
        type("RemoteSocketProtocol", (RemoteSocketProtocol,), {"crowd": crowd}),
    )
