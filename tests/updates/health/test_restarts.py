"""A service that keeps ending is found by watching it: systemd calls it well."""

from __future__ import annotations

import pytest

from innkeeper.updates import health
from tests.updates.health.reports import old, report, unit

STEADY = report(unit("shop.service"))


def restarted(times: int, sub: str = "running") -> object:
    """The guest in which systemd has started it again so often."""
    return report(unit("shop.service", restarts=times, sub=sub))


def found(before: object, earlier: object, later: object, *suspected: str) -> health.Judgement:
    """What two looks show."""
    return health.Judgement(
        findings=health.restarting(before, earlier, later, frozenset(suspected))  # type: ignore[arg-type]
    )


def test_three_starts_again_in_one_watch_are_a_fault() -> None:
    """By luck it was active at both looks."""
    assert found(STEADY, restarted(5), restarted(8)).faults == (
        "The unit shop.service has ended by itself, and was started again 3 times while it was watched.",
    )


def test_one_start_again_is_watched_once_more() -> None:
    """A second one in the next watch is a fault."""
    once = found(STEADY, restarted(0), restarted(1))
    assert (once.faults, once.may_pass) == ((), True)
    assert found(STEADY, restarted(1), restarted(2), "unit:shop.service").is_lasting
    assert found(STEADY, restarted(1), restarted(1), "unit:shop.service").findings == ()


def test_a_slow_loop_that_pauses_at_both_looks_is_found() -> None:
    """Its counter has not moved."""
    pausing = restarted(4, "auto-restart")
    assert found(STEADY, pausing, pausing, "unit:shop.service").is_lasting


@pytest.mark.parametrize(
    "before",
    [
        report(unit("shop.service", restarts=500)),
        report(unit("shop.service", "activating", sub="auto-restart")),
        report(unit("shop.service"), failed_lately=frozenset({"shop.service"})),
    ],
)
def test_a_loop_of_before_the_update_is_told_alone(before: object) -> None:
    """It is as it was."""
    judgement = found(before, restarted(0), restarted(9))
    assert (judgement.faults, judgement.may_pass, len(judgement.warnings)) == ((), False, 1)


def test_an_old_agent_shows_no_loops() -> None:
    """Nothing is known of them."""
    assert found(old(STEADY), old(STEADY), old(STEADY)).findings == ()
