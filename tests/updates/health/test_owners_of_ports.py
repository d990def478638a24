"""A port is missed as its owner is: what excuses a unit excuses what it listened on."""

from __future__ import annotations

import pytest

from innkeeper.channels.guest_details import UnitFacts
from innkeeper.channels.ports import HealthReport
from innkeeper.updates.health import Finding
from tests.updates.health.reports import WEEK_SECONDS, judged, report, tcp, unit

PORT = (tcp(8090, "shop.service", "shop"),)
FILES = frozenset({"shop.service"})
STEADY = unit("shop.service", age=WEEK_SECONDS)
FLAPS = unit("shop.service", restarts=4000)
BY_HAND = unit("shop.service", enablement="disabled", wanted=False)
ON_THE_BUS = unit("shop.service", type="dbus", enablement="static", wanted=False)
ON_A_SOCKET = unit("shop.service", triggered=True, age=90, enablement="static", wanted=False)
YOUNG = unit("shop.service", triggered=True, age=90)
JOB = unit("shop.service", "activating", sub="start", type="oneshot", enablement="static", wanted=False)


def port_of(before: HealthReport, after: HealthReport) -> Finding | None:
    """What is found of the port."""
    return next(
        (each for each in judged(before, after).findings if each.subject == "listener:tcp/8090"), None
    )


@pytest.mark.parametrize(
    ("was", "now", "lately", "boot_id"),
    [
        pytest.param(STEADY, unit("shop.service", "failed"), FILES, "one", id="failed-lately"),
        pytest.param(FLAPS, unit("shop.service", "failed"), frozenset(), "one", id="flapped-and-failed"),
        pytest.param(FLAPS, unit("shop.service", restarts=4100), frozenset(), "one", id="flaps"),
        pytest.param(FLAPS, unit("shop.service", restarts=9), frozenset(), "two", id="flaps-after-a-boot"),
        pytest.param(
            FLAPS, unit("shop.service", "activating", sub="auto-restart"), frozenset(), "one", id="pauses"
        ),
        pytest.param(BY_HAND, None, frozenset(), "two", id="by-hand-and-a-boot"),
        pytest.param(BY_HAND, None, frozenset(), "one", id="by-hand"),
        pytest.param(ON_THE_BUS, None, frozenset(), "two", id="on-the-bus"),
        pytest.param(ON_A_SOCKET, None, frozenset(), "two", id="on-a-socket"),
        pytest.param(JOB, None, frozenset(), "one", id="a-job-that-is-over"),
    ],
)
def test_a_port_of_a_unit_whose_end_does_not_count_is_told_alone(
    was: UnitFacts, now: UnitFacts | None, lately: frozenset[str], boot_id: str
) -> None:
    """Nothing of such a guest is a fault, and the report says why."""
    before = report(was, listeners=PORT, failed_lately=lately)
    after = report(*([now] if now else []), unit_files=FILES, boot_id=boot_id, uptime=3600)
    assert judged(before, after).faults == ()
    found = port_of(before, after)
    assert found is not None
    assert "which does not count: shop.service" in found.sentence


@pytest.mark.parametrize(
    ("was", "now"),
    [
        pytest.param(STEADY, STEADY, id="deaf"),
        pytest.param(STEADY, unit("shop.service", restarts=4000), id="flaps-since-the-update"),
        pytest.param(FLAPS, unit("shop.service"), id="runs-steadily-and-deaf"),
        pytest.param(STEADY, unit("shop.service", "failed"), id="failed"),
        pytest.param(STEADY, unit("shop.service", "inactive", sub="dead"), id="gone"),
        pytest.param(BY_HAND, BY_HAND, id="by-hand-and-deaf"),
    ],
)
def test_a_port_of_a_unit_that_counts_is_a_fault(was: UnitFacts, now: UnitFacts) -> None:
    """Also where its service is well but listens no more."""
    found = port_of(report(was, listeners=PORT), report(now, uptime=3600))
    assert found is not None
    assert found.is_fault


@pytest.mark.parametrize(
    "was",
    [
        pytest.param(unit("shop.service", triggered=True, age=2 * 24 * 3600), id="restarted-in-the-week"),
        pytest.param(unit("shop.service", enablement="static", wanted=False), id="of-programs"),
        pytest.param(unit("shop.service", type="oneshot", remains=True, sub="exited"), id="left-by-a-job"),
    ],
)
def test_a_port_of_what_nobody_is_known_to_start_is_judged_by_itself(was: UnitFacts) -> None:
    """Docker, after its own update, holds its containers' ports; what programs start has no other witness."""
    found = port_of(report(was, listeners=PORT), report(unit_files=FILES, boot_id="two"))
    assert found is not None
    assert found.is_fault


def test_with_a_unit_that_is_ignored_goes_what_it_listened_on() -> None:
    """As its administrator wants it."""
    judgement = judged(report(STEADY, listeners=PORT), report(unit("shop.service", "failed")))
    assert len(judgement.faults) == 2
    assert judgement.ignoring(["unit:shop.service"]).faults == ()


def test_a_port_of_a_unit_that_the_boot_starts_is_missed_however_young_the_unit_was() -> None:
    """It has a socket too, and was started again shortly before the update: a server of containers."""
    before = report(YOUNG, listeners=PORT)
    found = port_of(before, report(unit("shop.service", "inactive"), boot_id="two"))
    assert found is not None
    assert found.is_fault
