"""Compare which networks the guest reaches: a server that nobody reaches is broken, however well it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from innkeeper.channels.guest_details import Route
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
            yield _no_default(gone[0], was, now)
    kept = _own_by_device(now)
    networks = {route.network for routes in kept.values() for route in routes}
    for device, lost in _own_by_device(was).items():
        # A network that another device is in now has moved: devices are renamed, and bridged.
        if device not in kept and networks.isdisjoint(route.network for route in lost):
            yield _no_network(lost, now)


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


def _no_default(gone: Route, was: Sequence[Route], now: Sequence[Route]) -> Finding:
    why_not = _why_not(gone.device, now)
    if gone.kind == "tunnel":
        why_not = "the other end of a tunnel may be away"
    elif gone.family == "ipv6" and any(_is_default(route, "ipv4") for route in was):
        why_not = "routers announce it, and IPv4 is judged by itself"
    return _finding(gone, f"The guest has no default route for {_WORDS[gone.family]} any more", why_not)


def _no_network(lost: Sequence[Route], now: Sequence[Route]) -> Finding:
    first = lost[0]
    return _finding(first, f"{first.device} has no address of IPv4 any more", _why_not(first.device, now))


def _why_not(device: str, now: Sequence[Route]) -> str:
    if any(route.device == device and not route.is_linked for route in now):
        return f"{device} has no link, for which the guest can do nothing"
    return ""


def _finding(lost: Route, what: str, why_not: str) -> Finding:
    was = words_of(lost)
    return Finding(
        subject=subject_of(lost),
        sentence=f"{what}: it was {was}{f'; this does not count: {why_not}' if why_not else ''}.",
        is_fault=not why_not,
        may_pass=not why_not,
        was=was,
    )
