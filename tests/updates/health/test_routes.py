"""A server that nobody reaches any more is broken; what others decide about its network is no fault of it."""

from __future__ import annotations

import dataclasses

from innkeeper.channels.guest_details import Route
from innkeeper.updates.health import what_counts
from tests.updates.health.reports import judged, old, report, udp


def card(device: str = "eth0", *, is_linked: bool = True) -> Route:
    """A network card by itself."""
    return Route(family="", network="", device=device, is_linked=is_linked)


def default(device: str = "eth0", family: str = "ipv4", kind: str = "card") -> Route:
    """A default route."""
    return Route(family=family, network="default", device=device, kind=kind)


def lan(network: str = "192.0.2.0/24", device: str = "eth0", family: str = "ipv4") -> Route:
    """A network that a card is in."""
    return Route(family=family, network=network, device=device)


WELL = (card(), lan(), default())


def test_a_guest_without_a_network_any_more_is_at_fault() -> None:
    """It runs, listens, and nobody reaches it; DHCP has its time to answer."""
    found = judged(report(routes=WELL), report(routes=(card(),)))
    assert found.faults == (
        "The guest has no default route for IPv4 any more: it was by eth0.",
        "eth0 has no address of IPv4 any more: it was in 192.0.2.0/24.",
    )
    assert (found.may_pass, found.is_lasting) == (True, False)
    assert [each.subject for each in found.findings] == ["network:default", "network:eth0"]


def test_a_second_card_without_an_address_is_a_fault() -> None:
    """The network of storage or of backups is missed as well."""
    before = (*WELL, card("eth1"), lan("198.51.100.0/24", "eth1"))
    assert judged(report(routes=before), report(routes=(*WELL, card("eth1")))).faults == (
        "eth1 has no address of IPv4 any more: it was in 198.51.100.0/24.",
    )


def test_what_came_back_in_another_way_is_well() -> None:
    """A card was renamed or bridged, a lease is of another network, an address of a takeover is elsewhere."""
    renamed = (card("ens3"), lan(device="ens3"), default("ens3"))
    leased = (card(), lan("203.0.113.0/24"), default())
    for after in (renamed, leased):
        assert judged(report(routes=WELL), report(routes=after)).findings == ()
    taken_over = (*WELL, lan("198.51.100.0/24"))
    assert judged(report(routes=taken_over), report(routes=WELL)).findings == ()


def test_a_card_without_a_link_is_told_alone() -> None:
    """Its cable, or its port of the host's, is not the guest's."""
    found = judged(report(routes=WELL), report(routes=(card(is_linked=False),)))
    assert found.faults == ()
    assert found.warnings[1] == (
        "eth0 has no address of IPv4 any more: it was in 192.0.2.0/24; this does not count: "
        "eth0 has no link, for which the guest can do nothing."
    )


def test_what_others_announce_is_told_alone() -> None:
    """Routers of IPv6 beside IPv4, and the other ends of tunnels; without IPv4 they are all there is."""
    six = (default(family="ipv6"), lan("2001:db8::/64", family="ipv6"))
    found = judged(report(routes=(*WELL, *six)), report(routes=WELL))
    assert (found.faults, len(found.warnings)) == ((), 1)
    assert judged(report(routes=(card(), *six)), report(routes=(card(),))).faults == (
        "The guest has no default route for IPv6 any more: it was by eth0.",
    )
    tunnel = default("wg0", kind="tunnel")
    assert judged(report(routes=(card(), lan(), tunnel)), report(routes=(card(), lan()))).faults == ()


def test_another_way_to_an_address_is_no_finding() -> None:
    """A client of DHCP is gone, and the guest is in its networks: only where it cannot say is that missed."""
    client = (udp(68, program="dhclient"), udp(546, program="dhclient"))
    assert judged(report(routes=WELL, listeners=client), report(routes=WELL)).findings == ()
    assert len(judged(report(listeners=client), report()).faults) == 2


def test_a_guest_that_cannot_say_is_not_judged_by_it() -> None:
    """An old agent, and the tables of a router."""
    nowhere = report(routes=())
    for before, after in ((report(), nowhere), (report(routes=WELL), report()), (old(nowhere), nowhere)):
        assert judged(before, after).findings == ()


def test_what_a_loss_would_count_is_told() -> None:
    """By the same rules, under the names that ``machine ignore`` takes."""
    stakes = {stake.subject: stake for stake in what_counts(report(routes=WELL), ["network:default"])}
    assert stakes["network:eth0"].now == "in 192.0.2.0/24"
    assert [stakes[name].loss is not None and stakes[name].loss.is_fault for name in sorted(stakes)] == [  # type: ignore[union-attr]
        False,
        True,
    ]
    assert dataclasses.asdict(stakes["network:default"])["loss"]["is_ignored"]
