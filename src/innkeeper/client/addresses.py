"""Read where a service on another computer is."""

from __future__ import annotations

import dataclasses
import ipaddress
from urllib.parse import urlsplit

from innkeeper.errors import ErrorCode, InvalidArgument

#: Where a service listens when nobody says otherwise.
DEFAULT_PORT = 8443


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """Where a service on another computer is."""

    host: str
    port: int
    #: ``False`` on the loopback alone, where nobody listens in.
    tls: bool = True

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``inn.example``, ``inn.example:8443``, ``[2001:db8::1]:8443`` or a URL of these.

        Raises ``InvalidArgument``: 0x800706AB for an address that is nobody's, and for plain HTTP to another
        computer.
        """
        try:
            url = urlsplit(text if "://" in text else f"https://{text}")
            host, port = url.hostname or "", url.port or DEFAULT_PORT
        except ValueError as error:
            raise _no_address(text) from error
        if (
            url.scheme not in ("http", "https")
            or not host
            or url.path.strip("/")
            or url.username
            or url.query
        ):
            raise _no_address(text)
        address = cls(host=host, port=port, tls=url.scheme == "https")
        if _is_nobodys(host):
            raise _no_address(text)
        if not address.tls and not address.is_loopback:
            raise InvalidArgument(
                f"“{text}” would send everything unencrypted.", advice="Write https, or leave it out."
            )
        return address

    @property
    def is_loopback(self) -> bool:
        """Whether the address is this computer's."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def url(self) -> str:
        """As a URL."""
        return f"{'https' if self.tls else 'http'}://{self}"

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _is_nobodys(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return not host.isascii() or any(letter.isspace() for letter in host)
    return address.is_unspecified or address.is_multicast


def _no_address(text: str) -> InvalidArgument:
    return InvalidArgument(
        f"“{text[:100]}” is not an address of a service.",
        code=ErrorCode.RPC_S_INVALID_NET_ADDR,
        advice="Write the name of the computer, or NAME:PORT.",
    )
