"""Compare which networks the guest reaches: a server that nobody reaches is broken, however well it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from innkeeper.channels.guest_details import GuestDetails, Route
from innkeeper.channels.ports import HealthReport
from innkeeper.updates.health.finding import Finding

_DEFAULT = "default"
_WORDS = {"ipv4": "IPv4", "ipv6": "IPv6"}


def findings(before: HealthReport, after: HealthReport) -> Iterator[Finding]:
    """What is not reached any more; a guest that cannot say is not asked."""
    if before.details is None or after.details is None:
        return
    was, now = before.details.routes, after.details.routes
    if was is None or now is None:
        return
    for family in _WORDS:
        gone = [route for route in was if _is_default(route, family)]
        if gone and not any(_is_default(route, family) for route in now):
            yield _no_default(gone[0], was, after.details)
    kept = _own_by_device(now)
    for device, lost in _own_by_device(was).items():
        elsewhere = {route.network for other, routes in kept.items() if other != device for route in routes}
        # A network that another device is in now has moved: devices are renamed, and bridged.
        if not elsewhere.isdisjoint(route.network for route in lost):
            continue
        if device not in kept:
            yield _no_network(lost, after.details)
        elif _all_float(kept[device], after.details) and _some_stay(lost, after.details):
            yield _none_of_its_own(lost, after.details)


def subject_of(route: Route) -> str:
    """Return how a loss is named."""
    if route.network != _DEFAULT:
        return f"network:{route.device}"
    return "network:default" if route.family == "ipv4" else f"network:default/{route.family}"


def words_of(route: Route) -> str:
    """Return where it leads, for a person."""
    return f"by {route.device}" if route.network == _DEFAULT else f"in {route.network}"


def _is_default(route: Route, family: str) -> bool:
    return (route.family, route.network) == (family, _DEFAULT)


def _is_own(route: Route) -> bool:
    """Whether a card is in the network; prefixes of IPv6 change with whoever announces them."""
    return route.family == "ipv4" and route.network != _DEFAULT


def _own_by_device(routes: Sequence[Route]) -> Mapping[str, Sequence[Route]]:
    found: dict[str, list[Route]] = {}
    for route in filter(_is_own, routes):
        found.setdefault(route.device, []).append(route)
    return found


def _some_stay(routes: Sequence[Route], after: GuestDetails) -> bool:
    """Whether an address is known among theirs that is at home on this machine."""
    return any(not after.floating.issuperset(route.addresses) for route in routes)


def _all_float(routes: Sequence[Route], after: GuestDetails) -> bool:
    """Whether their addresses are known, and each is one that a cluster's manager gives away."""
    return all(route.addresses for route in routes) and not _some_stay(routes, after)


def _no_default(gone: Route, was: Sequence[Route], after: GuestDetails) -> Finding:
    own = _own_by_device(was).get(gone.device, ())
    why_not = _why_not(gone.device, own, after)
    if gone.kind == "tunnel":
        why_not = "the other end of a tunnel may be away"
    elif gone.family == "ipv6" and any(_is_default(route, "ipv4") for route in was):
        why_not = "routers announce it, and IPv4 is judged by itself"
    elif gone.family == "ipv4" and _DEFAULT in after.floating and not why_not and _is_up(gone.device, after):
        why_not = "a cluster's manager gives it to one of its machines at a time"
    return _finding(gone, f"The guest has no default route for {_WORDS[gone.family]} any more", why_not)


def _no_network(lost: Sequence[Route], after: GuestDetails) -> Finding:
    first = lost[0]
    why_not = _why_not(first.device, lost, after)
    return _finding(first, f"{first.device} has no address of IPv4 any more", why_not)


def _none_of_its_own(lost: Sequence[Route], after: GuestDetails) -> Finding:
    """Of a card with addresses that leave this machine as soon as another takes over."""
    first = lost[0]
    return _finding(
        first,
        f"{first.device} has no address of IPv4 of its own any more, but only what a cluster gives it",
        _no_link(first.device, after),
    )


def _why_not(device: str, own: Sequence[Route], after: GuestDetails) -> str:
    """Why the loss of all that went by a device does not count; ``own`` is which networks it was in."""
    if own and _all_float(own, after) and _is_up(device, after):
        addresses = sorted({address for route in own for address in route.addresses})
        which = f"{addresses[0]} floats" if len(addresses) == 1 else f"{', '.join(addresses[:3])} float"
        return f"{which} between the machines of a cluster, and {device} is up"
    return _no_link(device, after)


def _no_link(device: str, after: GuestDetails) -> str:
    if any(route.device == device and not route.is_linked for route in after.routes or ()):
        return f"{device} has no link, for which the guest can do nothing"
    return ""


def _is_up(device: str, after: GuestDetails) -> bool:
    """Whether the device is there, switched on, and has a link."""
    here = [route for route in after.routes or () if route.device == device]
    return bool(here) and all(route.is_up and route.is_linked for route in here)


def _finding(lost: Route, what: str, why_not: str) -> Finding:
    was = words_of(lost)
    return Finding(
        subject=subject_of(lost),
        sentence=f"{what}: it was {was}{f'; this does not count: {why_not}' if why_not else ''}.",
        is_fault=not why_not,
        may_pass=not why_not,
        was=was,
    )
