"""The remote door: HTTP over TCP, with TLS unless it stays on this computer."""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import socket
import ssl
from collections.abc import Iterator, Sequence

from innkeeper.errors import ErrorCode, InvalidArgument
from innkeeper.server.http.crowd import Crowd
from innkeeper.server.http.limited import LimitedProtocol, LimitedSocketProtocol
from innkeeper.server.http.proxies import proxies_of
from innkeeper.server.identity.certificates import Certificate, names_in, self_made
from innkeeper.server.settings import Settings

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


def remote_protocols(settings: Settings) -> tuple[type[LimitedProtocol], type[LimitedSocketProtocol]]:
    """Return the protocols of one service's remote doors, which share one count of connections."""
    crowd = Crowd(
        most=settings.max_connections,
        most_from_one=settings.max_connections_from_one,
        proxies=proxies_of(settings.trusted_proxies),
    )
    return (
        type("RemoteProtocol", (LimitedProtocol,), {"crowd": crowd}),
        type("RemoteSocketProtocol", (LimitedSocketProtocol,), {"crowd": crowd}),
    )
