"""A server that nobody reaches any more is broken; what others decide about its network is no fault of it."""

from __future__ import annotations

import dataclasses

import pytest

from innkeeper.channels.guest_details import Route
from innkeeper.channels.ports import HealthReport
from innkeeper.updates.health import what_counts
from tests.updates.health.reports import judged, old, report, tcp, udp, unit


def card(device: str = "eth0", *, is_linked: bool = True, is_up: bool = True) -> Route:
    """A network card by itself."""
    return Route(family="", network="", device=device, is_linked=is_linked, is_up=is_up)


def default(device: str = "eth0", family: str = "ipv4", kind: str = "card") -> Route:
    """A default route."""
    return Route(family=family, network="default", device=device, kind=kind)


def lan(
    network: str = "192.0.2.0/24", device: str = "eth0", family: str = "ipv4", addresses: tuple[str, ...] = ()
) -> Route:
    """A network that a card is in."""
    return Route(family=family, network=network, device=device, addresses=addresses)


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


#: A machine of a cluster: its second card has no address but that which floats.
MASTER = (*WELL, card("eth1"), lan("198.51.100.0/24", "eth1", addresses=("198.51.100.10",)))
VIP = frozenset({"198.51.100.10"})


def test_a_card_whose_floating_address_went_to_a_peer_is_told_alone() -> None:
    """It moves while this machine reboots, and stays where it is."""
    found = judged(report(routes=MASTER), report(routes=(*WELL, card("eth1")), floating=VIP))
    assert (found.faults, found.may_pass) == ((), False)
    assert found.warnings == (
        (
            "eth1 has no address of IPv4 any more: it was in 198.51.100.0/24; this does not count: "
            "198.51.100.10 floats between the machines of a cluster, and eth1 is up."
        ),
    )


@pytest.mark.parametrize(
    "after",
    [
        report(routes=(*WELL, card("eth1"))),
        report(routes=(*WELL, card("eth1")), floating=frozenset({"198.51.100.11"})),
        report(routes=(*WELL, card("eth1", is_up=False)), floating=VIP),
        report(routes=WELL, floating=VIP),
    ],
    ids=["no manager runs", "it gives others away", "the card is down", "the card is gone"],
)
def test_a_floating_address_that_cannot_come_back_is_missed(after: HealthReport) -> None:
    """Its manager does not run or does not know it, or the card could not take it."""
    assert judged(report(routes=MASTER), after).faults == (
        "eth1 has no address of IPv4 any more: it was in 198.51.100.0/24.",
    )


def test_an_address_at_home_beside_a_floating_one_is_missed() -> None:
    """With both gone, and with the floating one alone: whose peer takes over, leaves nothing here."""
    both = lan("198.51.100.0/24", "eth1", addresses=("198.51.100.5", "198.51.100.10"))
    before = report(routes=(*WELL, card("eth1"), both))
    assert judged(before, report(routes=(*WELL, card("eth1")), floating=VIP)).faults == (
        "eth1 has no address of IPv4 any more: it was in 198.51.100.0/24.",
    )
    found = judged(before, report(routes=MASTER, floating=VIP))
    assert found.faults == (
        (
            "eth1 has no address of IPv4 of its own any more, but only what a cluster gives it: it was in "
            "198.51.100.0/24."
        ),
    )
    assert found.may_pass
    leased = lan("198.51.100.0/24", "eth1", addresses=("198.51.100.10", "198.51.100.6"))
    for after in ((*WELL, card("eth1"), leased), (*WELL, card("eth2"), lan("198.51.100.0/24", "eth2"))):
        assert judged(before, report(routes=after, floating=VIP)).findings == ()


def test_a_default_route_that_floats_is_told_alone() -> None:
    """It went with the only address of its card, or a manager gives it away itself."""
    alone = (card("eth1"), lan("198.51.100.0/24", "eth1", addresses=("198.51.100.10",)), default("eth1"))
    found = judged(report(routes=alone), report(routes=(card("eth1"),), floating=VIP))
    assert (found.faults, len(found.warnings)) == ((), 2)
    given = report(routes=(card(), lan()), floating=frozenset({"default"}))
    assert judged(report(routes=WELL), given).warnings == (
        (
            "The guest has no default route for IPv4 any more: it was by eth0; this does not count: "
            "a cluster's manager gives it to one of its machines at a time."
        ),
    )
    assert judged(
        report(routes=WELL), report(routes=(card(is_up=False),), floating=frozenset({"default"}))
    ).faults


def test_what_a_cluster_starts_elsewhere_is_told_alone() -> None:
    """What listened on a floating address alone, and what Pacemaker itself has started."""
    units = (unit("haproxy.service"), unit("pacemaker.service"))
    here = (tcp(443, "haproxy.service", address="198.51.100.10"), tcp(80, "pacemaker.service", "httpd"))
    before = report(*units, routes=MASTER, listeners=here)
    left = (*WELL, card("eth1"))
    assert judged(before, report(*units, routes=left, floating=VIP)).faults == ()
    assert len(judged(before, report(*units, routes=MASTER)).faults) == 2
    assert judged(before, report(*units, routes=MASTER, floating=VIP)).faults == (
        "Nothing listens on tcp 198.51.100.10:443 any more.",
    ), "the address is here"


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
