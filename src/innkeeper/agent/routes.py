"""Report which networks the guest reaches: its default routes, and what its network cards are in."""

import ipaddress
import os
import re
import sys
from typing import Iterator, List, NamedTuple, Optional, Tuple

from innkeeper.agent.places import Places, read_text

#: As the kernel numbers kinds of devices: what has a cable, or acts as if it had one.
_ETHERNET, _INFINIBAND = "1", "32"
_DEVICES = "sys/class/net"
_UP, _REJECTS = 0x1, 0x200
_IFF_UP = 0x1
#: A leaf of the kernel's tree of addresses, with what is known of each.
_LEAF = re.compile(r"\|-- (\S+)((?:\n +/\d+ .*)+)")
_OWN_ADDRESS = "/32 host LOCAL"
#: Of more in one network none is told.
_MOST_ADDRESSES = 64
#: A table that does not fit is that of a router, which has its routes from others.
_MOST_CHARS = 512 * 1024
_MOST = 500


class Route(NamedTuple):
    """A network, and by which device it is reached."""

    #: ``ipv4`` or ``ipv6``; empty for a card by itself.
    family: str
    #: ``default``, or a network that a card is in itself, as ``192.0.2.0/24``; empty for a card by itself.
    network: str
    device: str
    #: ``card`` (also a bridge, bond or VLAN over one), ``ethernet`` (of programs), ``tunnel``.
    kind: str
    #: Whether the device has a link: a guest can do nothing for one whose cable is out.
    is_linked: bool
    #: Whether it is switched on, with or without a link.
    is_up: bool
    #: Of a network of IPv4 that a card is in: the guest's addresses there.
    addresses: Tuple[str, ...]


def routes(places: Places) -> Optional[List[Route]]:
    """Return them, or nothing where the kernel's tables cannot be read, or are those of a router."""
    four, six = read_text(places.under("proc/net/route")), read_text(places.under("proc/net/ipv6_route"))
    if not four or len(four) + len(six) > _MOST_CHARS:
        return None
    found = sorted({*_four(places, four), *_six(places, six), *_cards(places)})
    return found if len(found) <= _MOST else None


def _cards(places: Places) -> Iterator[Route]:
    """Yield each card, also one that is in no network."""
    try:
        devices = os.listdir(places.under(_DEVICES))
    except OSError:
        return
    for device in devices:
        yield from _own(_route(places, "", "", device))


def _four(places: Places, table: str) -> Iterator[Route]:
    own = _own_addresses(places)
    for fields in map(str.split, table.splitlines()[1:]):
        if len(fields) < 8 or int(fields[3], 16) & (_UP | _REJECTS) != _UP:
            continue
        address, gateway, mask = (_address(fields[at]) for at in (1, 2, 7))
        if int(mask) == 0:
            yield _route(places, "ipv4", "default", fields[0])
        elif int(gateway) == 0 and not address.is_link_local:
            network = ipaddress.IPv4Network("{}/{}".format(address, bin(int(mask)).count("1")))
            route = _route(places, "ipv4", str(network), fields[0])
            yield from _own(route._replace(addresses=_in(network, own)))


def _six(places: Places, table: str) -> Iterator[Route]:
    for fields in map(str.split, table.splitlines()):
        if len(fields) < 10 or fields[9] == "lo" or int(fields[8], 16) & (_UP | _REJECTS) != _UP:
            continue
        address, length = ipaddress.IPv6Address(int(fields[0], 16)), int(fields[1], 16)
        if length == 0:
            yield _route(places, "ipv6", "default", fields[9])
        elif int(fields[4], 16) == 0 and length < 128 and not (address.is_link_local or address.is_multicast):
            yield from _own(_route(places, "ipv6", "{}/{}".format(address, length), fields[9]))


def _own(route: Route) -> Iterator[Route]:
    """Programs put their own networks up and take them down: containers, guests of this guest, VPNs."""
    if route.kind == "card":
        yield route


def _own_addresses(places: Places) -> List[str]:
    leaves = _LEAF.findall(read_text(places.under("proc/net/fib_trie")))
    return sorted({address for address, known in leaves if _OWN_ADDRESS in known})


def _in(network: ipaddress.IPv4Network, addresses: List[str]) -> Tuple[str, ...]:
    found = tuple(each for each in addresses if ipaddress.IPv4Address(each) in network)
    return found if len(found) <= _MOST_ADDRESSES else ()


def _address(digits: str) -> ipaddress.IPv4Address:
    """Read a word of the kernel's, in the machine's own byte order."""
    return ipaddress.IPv4Address(int.from_bytes(bytes.fromhex(digits), sys.byteorder))


def _route(places: Places, family: str, network: str, device: str) -> Route:
    folder = places.under("{}/{}".format(_DEVICES, device))
    # One that is down by the guest's own wish cannot be asked; only one that is up says 0.
    is_linked = read_text(folder + "/carrier") != "0"
    is_up = bool(int(read_text(folder + "/flags") or "1", 16) & _IFF_UP)
    return Route(family, network, device, _kind(folder), is_linked, is_up, ())


def _kind(folder: str) -> str:
    if _is_over_a_card(folder, 0):
        return "card"
    return "ethernet" if read_text(folder + "/type") in (_ETHERNET, _INFINIBAND) else "tunnel"


def _is_over_a_card(folder: str, depth: int) -> bool:
    try:
        names = os.listdir(folder)
    except OSError:
        return False
    lower = [name for name in names if name.startswith("lower_")]
    return "device" in names or (
        depth < 4 and any(_is_over_a_card(os.path.join(folder, name), depth + 1) for name in lower)
    )
