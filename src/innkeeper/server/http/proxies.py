"""The proxies before the service that are trusted to say whose a request is."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import TypeAlias

from innkeeper.errors import InvalidArgument

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def proxies_of(texts: Sequence[str]) -> tuple[Network, ...]:
    """The networks of trusted proxies. Raises ``InvalidArgument`` for what is neither address nor network."""
    networks = []
    for text in texts:
        try:
            networks.append(ipaddress.ip_network(text, strict=False))
        except ValueError as error:
            raise InvalidArgument(
                f"The setting “trusted_proxies” has “{text[:60]}”, which is no address and no network.",
                advice="Write addresses or networks, such as 192.0.2.10 or 10.1.0.0/24.",
            ) from error
    return tuple(networks)


def is_trusted(proxies: Sequence[Network], address: str) -> bool:
    """Whether the address is that of a trusted proxy."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return any((mapped or parsed) in network for network in proxies)
