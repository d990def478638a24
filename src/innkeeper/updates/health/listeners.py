"""Compare what listens: by the port where services have one of their own, else by who owns it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from innkeeper.channels.guest_details import GuestDetails, Listener
from innkeeper.channels.ports import HealthReport
from innkeeper.updates.health.finding import Finding
from innkeeper.updates.health.owners import Owners

#: Below this, a port is asked for by its number.
_FIRST_FREE_PORT = 1024
#: Where clients of DHCP wait for answers: what they are there for is judged by the guest's networks.
_DHCP_CLIENTS = (68, 546)
#: Programs of ONC RPC: all their ports are any ports, which rpcbind tells.
_RPC = ("rpc.", "rpcbind", "ypbind", "ypserv")
#: What starts programs on one machine of a cluster at a time.
_OF_A_CLUSTER = "pacemaker.service"
#: The range of ports for whoever asks for any, of a guest that does not tell its own.
_USUAL_ANY_PORTS = (32768, 60999)
#: A plain list of so many was cut by the guest: what it lacks may be there.
_CUT = 2000
#: What people start, and what ends with them.
_OF_LOGINS = ("session-", "user@")


def findings(before: HealthReport, after: HealthReport) -> Iterator[Finding]:
    """Where nothing listens any more, although somebody relied on it."""
    if before.details is None or after.details is None:
        yield from _by_places(before, after)
        return
    owners = Owners(before, after)
    present = set(after.details.listeners)
    seen: set[str] = set()
    for one in before.details.listeners:
        if one in present or _is_there(one, after.details.listeners):
            continue
        found = _judge(one, before.details, after.details, owners)
        if found is not None and found.sentence not in seen:
            seen.add(found.sentence)
            yield found


def _by_places(before: HealthReport, after: HealthReport) -> Iterator[Finding]:
    """Judge by addresses and ports alone, where a guest does not say who owns them."""
    if len(after.listeners) >= _CUT:
        return
    low, high = next((each.any_ports for each in (before.details, after.details) if each), _USUAL_ANY_PORTS)
    was, now = ([*map(_read, sorted(each.listeners))] for each in (before, after))

    def any_ports(of: list[Listener]) -> set[int]:
        return {one.port for one in of if one.protocol == "tcp" and low <= one.port <= high}

    # As many as before are likely the same programs, which were given others.
    have_moved = len(any_ports(now)) >= len(any_ports(was))
    for one in was:
        if not (_is_there(one, now) or (low <= one.port <= high and (one.protocol == "udp" or have_moved))):
            yield _lost(one)


def _is_there(one: Listener, now: Iterable[Listener]) -> bool:
    """Whether something listens at this port still, whoever that is: its unit is judged by itself."""
    return any(
        (other.protocol, other.port) == (one.protocol, one.port) and _covers(other.address, one.address)
        for other in now
    )


def _covers(now: str, was: str) -> bool:
    """Whether whom the old address could be reached by reaches the new one.

    Addresses of networks come and go with leases, privacy extensions and takeovers: any of them is as good.
    """
    new, old = _address(now), _address(was)
    if new is None or old is None:
        return now == was
    if new.is_unspecified:
        return new.version == old.version or new.version == 6
    return new == old or not (old.is_unspecified or old.is_loopback or new.is_loopback)


def _judge(one: Listener, before: GuestDetails, after: GuestDetails, owners: Owners) -> Finding | None:
    is_any = before.any_ports[0] <= one.port <= before.any_ports[1]
    if one.protocol == "udp" and is_any:
        # Whoever asks over UDP has one, for as long as the answer takes.
        return None
    knows_networks = before.routes is not None and after.routes is not None
    if knows_networks and one.protocol == "udp" and one.port in _DHCP_CLIENTS:
        return None
    still = [other for other in after.listeners if _owner(other) == _owner(one)]
    if (is_any or one.program.startswith(_RPC)) and _has_moved(one, before, still):
        return None
    if one.protocol == "udp" and one.port >= _FIRST_FREE_PORT and _asks(one, before, still):
        return None
    if one.unit.startswith(_OF_LOGINS) and not _lingers(one):
        return _lost(one, why_not="somebody who was logged on had started it")
    if one.address in after.floating and not _is_here(one.address, after):
        return _lost(one, why_not="its address floats between the machines of a cluster")
    if one.unit == _OF_A_CLUSTER and after.floating:
        return _lost(one, why_not="a cluster's manager starts it on one of its machines at a time")
    return _judge_by_owner(one, before, after, owners)


def _judge_by_owner(one: Listener, before: GuestDetails, after: GuestDetails, owners: Owners) -> Finding:
    if _is_of_service(one) and not _is_installed(one, after):
        return _lost(one, why_not=f"{one.unit} is not installed any more")
    owner = after.unit(one.unit)
    if owner is not None and owner.is_starting:
        return _lost(one, may_pass=True, why_not=f"{one.unit} is still starting")
    excuse = owners.excuse(one.unit, before, after)
    if excuse:
        return _lost(one, why_not=excuse)
    usual = before.usual_seconds(f"{one.protocol}/{one.port}")
    return _lost(one, may_pass=True, usual_seconds=usual)


def _is_here(address: str, after: GuestDetails) -> bool:
    return any(address in route.addresses for route in after.routes or ())


def _has_moved(one: Listener, before: GuestDetails, still: list[Listener]) -> bool:
    """Whether the owner listens at as many other ports that it was just given."""
    if not one.program:
        return False
    if one.program.startswith(_RPC):
        return any(other.protocol == one.protocol for other in still)
    low, high = before.any_ports
    was = [other for other in before.listeners if _owner(other) == _owner(one)]

    def any_ports(of: list[Listener]) -> int:
        return len({other.port for other in of if other.protocol == "tcp" and low <= other.port <= high})

    return any_ports(still) >= any_ports(was)


def _asks(one: Listener, before: GuestDetails, still: list[Listener]) -> bool:
    """Whether the owner serves at another port, and asks others from this one, as name servers do."""
    was = {(other.protocol, other.port) for other in before.listeners if _owner(other) == _owner(one)}
    return bool(one.program) and any((other.protocol, other.port) in was for other in still)


def _owner(one: Listener) -> tuple[str, str]:
    """Unit and program; a container has another unit after each start."""
    is_container = one.unit.endswith(".scope") and not one.unit.startswith("session-")
    return ("" if is_container else one.unit), one.program


def _lingers(one: Listener) -> bool:
    """Whether a user's manager has a service of it, which the boot starts too."""
    manager, slash, unit = one.unit.partition("/")
    return bool(slash) and manager.startswith("user@") and unit.endswith(".service")


def _is_of_service(one: Listener) -> bool:
    """Whether a service of the system has it: units of other kinds are systemd's, and named by their kind."""
    return bool(one.unit) and "/" not in one.unit and not one.unit.endswith((".scope", ".socket"))


def _is_installed(one: Listener, after: GuestDetails) -> bool:
    known = after.unit(one.unit)
    return known is not None or after.is_installed(one.unit)


def words_of(one: Listener, usual_seconds: int = 0) -> str:
    """Return who listens, and since when after a boot, for a person; empty where the guest cannot say."""
    who = f"{one.program} of {one.unit}" if one.program and one.unit else one.program or one.unit
    since = f"usually within {usual_seconds} seconds of a boot" if usual_seconds else ""
    return ", ".join(filter(None, (who, since)))


def _lost(one: Listener, *, may_pass: bool = False, why_not: str = "", usual_seconds: int = 0) -> Finding:
    place = f"[{one.address}]:{one.port}" if ":" in one.address else f"{one.address}:{one.port}"
    owner = f" ({one.program}{f' of {one.unit}' if one.unit else ''})" if one.program else ""
    excuse = f", which does not count: {why_not}" if why_not else ""
    return Finding(
        subject=f"listener:{one.protocol}/{one.port}",
        sentence=f"Nothing listens on {one.protocol} {place} any more{owner}{excuse}.",
        is_fault=not why_not,
        may_pass=may_pass,
        was=words_of(one, usual_seconds),
        usual_seconds=usual_seconds,
        unit=one.unit,
    )


def _read(place: str) -> Listener:
    """Read ``tcp:::1:631``, as old agents tell it."""
    protocol, _, rest = place.partition(":")
    address, _, port = rest.rpartition(":")
    return Listener(protocol=protocol, address=address, port=int(port) if port.isdigit() else 0)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None
