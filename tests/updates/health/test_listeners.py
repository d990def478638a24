"""What listens is known by its port, and by its owner where the port is any."""

from __future__ import annotations

import pytest

from innkeeper.channels.guest_details import Listener, PastBoot
from tests.updates.health.reports import judged, old, report, tcp, udp, unit

CONTAINERD = ("containerd.service", "containerd")
AVAHI = ("avahi-daemon.service", "avahi-daemon")
DNS = ("dnsmasq.service", "dnsmasq")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param([udp(40211, "snmp.service", "poller")], [], id="a socket of a query"),
        pytest.param([tcp(35001, *CONTAINERD)], [tcp(41993, *CONTAINERD)], id="given another port"),
        pytest.param(
            [udp(5353, *AVAHI), udp(47001, *AVAHI)], [udp(5353, *AVAHI), udp(33001, *AVAHI)], id="avahi"
        ),
        pytest.param(
            [udp(53, *DNS), udp(9123, *DNS)], [udp(53, *DNS)], id="a name server that asks from any port"
        ),
        pytest.param(
            [tcp(811, "rpc-statd.service", "rpc.statd")],
            [tcp(37111, "rpc-statd.service", "rpc.statd")],
            id="ports that rpcbind tells",
        ),
        pytest.param([tcp(80, address="10.0.0.5")], [tcp(80, address="10.0.0.9")], id="another lease"),
        pytest.param(
            [udp(123, "ntpd.service", "ntpd", "fe80::1"), udp(123, "ntpd.service", "ntpd", "2001:db8::1")],
            [udp(123, "ntpd.service", "ntpd", "2001:db8::7")],
            id="another address of privacy",
        ),
        pytest.param([tcp(80)], [tcp(80, address="::")], id="both families by one socket"),
        pytest.param([tcp(80, address="127.0.0.1")], [tcp(80)], id="more than before"),
        pytest.param(
            [tcp(8080, "docker-1f.scope", "nginx")], [tcp(8080, "docker-9c.scope", "nginx")], id="container"
        ),
        pytest.param(
            [tcp(35001, "docker-1f.scope", "java")], [tcp(35222, "docker-9c.scope", "java")], id="in it"
        ),
    ],
)
def test_what_serves_as_before_is_no_finding(before: list[Listener], after: list[Listener]) -> None:
    """Another port for who never had one of its own, and other addresses of the network."""
    found = judged(report(listeners=tuple(before)), report(listeners=tuple(after)))
    assert found.findings == ()


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (
            [tcp(80, "nginx.service", "nginx")],
            [],
            "Nothing listens on tcp 0.0.0.0:80 any more (nginx of nginx.service).",
        ),
        ([tcp(80)], [tcp(80, address="127.0.0.1")], "Nothing listens on tcp 0.0.0.0:80 any more."),
        ([tcp(631, address="::1")], [], "Nothing listens on tcp [::1]:631 any more."),
        ([tcp(80)], [udp(80)], "Nothing listens on tcp 0.0.0.0:80 any more."),
        (
            [tcp(35001, *CONTAINERD)],
            [tcp(22)],
            "Nothing listens on tcp 0.0.0.0:35001 any more (containerd of containerd.service).",
        ),
        ([udp(1194, "vpn.service", "openvpn")], [], "Nothing listens on udp 0.0.0.0:1194 any more (openvpn"),
    ],
)
def test_a_port_that_is_lost_is_a_fault_worth_waiting_for(
    before: list[Listener], after: list[Listener], sentence: str
) -> None:
    """Java listens a minute after its unit is active."""
    units = [unit(one.unit) for one in before if one.unit]
    found = judged(report(*units, listeners=tuple(before)), report(*units, listeners=tuple(after)))
    (told,) = found.faults
    assert told.startswith(sentence)
    assert found.may_pass


def test_what_somebody_started_who_was_logged_on_does_not_count() -> None:
    """It ends with the boot, and nothing starts it again; a service of a user's that lingers counts."""
    by_hand = report(listeners=(tcp(8000, "session-3.scope", "python3"),))
    assert (judged(by_hand, report()).faults, len(judged(by_hand, report()).warnings)) == ((), 1)
    lingers = report(listeners=(tcp(8000, "user@1000.service/shop.service", "shop"),))
    assert judged(lingers, report()).faults


@pytest.mark.parametrize("name", ["finger.service", "finger"])
def test_a_port_of_what_the_update_took_out_is_told_alone(name: str) -> None:
    """Its unit is gone, as systemd names it or as other inits do."""
    before = report(listeners=(tcp(79, name, "fingerd"),))
    assert (judged(before, report()).faults, len(judged(before, report()).warnings)) == ((), 1)


def test_an_old_agent_is_judged_by_addresses() -> None:
    """As before."""
    before = report(listeners=(tcp(40000), tcp(22)))
    assert judged(old(before), old(report())).faults == (
        "Nothing listens on tcp 0.0.0.0:22 any more.",
        "Nothing listens on tcp 0.0.0.0:40000 any more.",
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param([udp(40211)], [], id="a socket of a query"),
        pytest.param([tcp(35001)], [tcp(41993)], id="given another port"),
        pytest.param([tcp(80, address="10.0.0.5")], [tcp(80, address="10.0.0.9")], id="another lease"),
        pytest.param([tcp(80)], [tcp(80, address="::")], id="both families by one socket"),
        pytest.param([tcp(22)], [tcp(number) for number in range(1024, 3024)], id="a list that was cut"),
    ],
)
def test_what_comes_and_goes_is_no_finding_of_an_old_agents_guest_either(
    before: list[Listener], after: list[Listener]
) -> None:
    """Of a guest that tells too much to tell more, too: a busy name server, a node of Kubernetes."""
    was, now = report(listeners=tuple(before)), report(listeners=tuple(after))
    for pair in ((old(was), old(now)), (was, old(now)), (old(was), now)):
        assert judged(*pair).findings == ()


def test_a_port_that_an_old_agents_guest_has_lost_is_a_fault() -> None:
    """One within the range too, where no other took its place; only here where the network reached it."""
    before = (tcp(33060), tcp(35001), udp(53), tcp(80))
    after = (tcp(41993), tcp(80, address="127.0.0.1"))
    assert len(judged(old(report(listeners=before)), old(report(listeners=after))).faults) == 4


def test_a_port_is_waited_for_as_long_as_it_usually_takes() -> None:
    """By the slowest of the boots before, and half as long again; where nothing is known, not longer."""
    boots = (PastBoot(watched=1800, ports={"tcp/9200": 240}), PastBoot(watched=1800, ports={"tcp/9200": 400}))
    before = report(unit("es.service"), listeners=(tcp(9200, "es.service", "java"),), boots=boots)
    judgement = judged(before, report(unit("es.service")))
    assert judgement.patience_seconds == 630
    assert judgement.findings[0].was == "java of es.service, usually within 400 seconds of a boot"
    unknown = report(unit("es.service"), listeners=(tcp(9200, "es.service", "java"),))
    assert judged(unknown, report(unit("es.service"))).patience_seconds == 0


def test_a_port_of_a_service_that_is_still_starting_is_waited_for_and_no_fault() -> None:
    """A database that migrates for longer than anybody's patience: its own time-out makes it fail."""
    before = report(unit("db.service"), listeners=(tcp(5432, "db.service", "postgres"),))
    after = report(unit("db.service", "activating", sub="start"))
    (port,) = [each for each in judged(before, after).findings if each.subject == "listener:tcp/5432"]
    assert (port.is_fault, port.may_pass) == (False, True)
    assert "db.service is still starting" in port.sentence
