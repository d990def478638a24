"""Health is a difference: what was bad before is no fault of the update."""

from __future__ import annotations

import dataclasses
import json

import pytest

from innkeeper.channels.ports import HealthReport
from innkeeper.updates import health
from innkeeper.wire.json_fields import as_object
from tests.updates.health.reports import judged, mount, report, tcp, unit

BEFORE = HealthReport(
    boot_id="one",
    kernel="6.1",
    system_state="degraded",
    failed_units=frozenset({"old.service"}),
    listeners=frozenset({"tcp:0.0.0.0:22"}),
    mounts=frozenset({"/", "/srv"}),
    package_database_ok=True,
    reboot_required=False,
    failed_checks={"backup": "no backup for a week"},
)


def after(**changes: object) -> HealthReport:
    """The same guest, later."""
    return dataclasses.replace(BEFORE, **changes)  # type: ignore[arg-type] # a test's shorthand


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, ()),
        ({"failed_units": frozenset()}, ()),
        ({"listeners": frozenset({"tcp:0.0.0.0:22", "tcp:0.0.0.0:80"})}, ()),
        ({"failed_units": frozenset({"old.service", "new.service"})}, ("The unit new.service has failed.",)),
        ({"listeners": frozenset()}, ("Nothing listens on tcp 0.0.0.0:22 any more.",)),
        ({"mounts": frozenset({"/"})}, ("/srv is not mounted any more.",)),
        ({"package_database_ok": False}, ("The package database is broken.",)),
        ({"failed_checks": {"backup": "none", "shop": "no answer"}}, ("The check shop failed: no answer",)),
    ],
)
def test_only_what_is_worse_than_before_counts(changes: dict[str, object], found: tuple[str, ...]) -> None:
    """Each finding is a sentence."""
    assert health.judge(BEFORE, after(**changes), must_have_rebooted=False).faults == found


def test_an_address_is_told_as_people_write_it() -> None:
    """The guest writes it without brackets."""
    before = dataclasses.replace(BEFORE, listeners=frozenset({"tcp:::1:631", "udp::::5353"}))
    found = health.judge(before, after(listeners=frozenset()), must_have_rebooted=False).faults
    assert found == (
        "Nothing listens on tcp [::1]:631 any more.",
        "Nothing listens on udp [::]:5353 any more.",
    )


def test_a_check_that_is_only_wanted_warns_and_does_not_roll_back() -> None:
    """``wanted.d`` is heard, and no more."""
    worse = after(failed_checks={**BEFORE.failed_checks, "wanted: mail": "queue is long"})
    judgement = health.judge(BEFORE, worse, must_have_rebooted=False)
    assert judgement.faults == ()
    assert judgement.warnings == ("The check mail, which is only wanted, failed: queue is long",)


def test_a_reboot_that_was_due_must_have_happened() -> None:
    """The boot id tells."""
    assert health.judge(BEFORE, after(), must_have_rebooted=True).faults
    assert not health.judge(BEFORE, after(boot_id="two"), must_have_rebooted=True).faults


def test_a_database_that_was_broken_before_is_no_finding() -> None:
    """The update did not break it."""
    broken = after(package_database_ok=False)
    assert health.judge(broken, broken, must_have_rebooted=False).findings == ()


def test_old_complaints_of_the_package_database_are_no_fault_and_new_ones_are() -> None:
    """A package that was half configured for years makes no good update fail."""
    old = "nagios: only half configured"
    before = report(complaints=frozenset({old}))
    assert judged(before, before).findings == ()
    assert judged(before, report(complaints=frozenset({old, "shop: unpacked"}))).faults == (
        "The package database is worse than before: shop: unpacked.",
    )


def test_a_guest_that_waits_at_its_console_is_a_fault() -> None:
    """Nothing of it may have failed."""
    rescue = dataclasses.replace(report(), system_state="maintenance")
    assert judged(report(), rescue).faults
    assert judged(rescue, rescue).faults == ()


def test_a_report_comes_back_from_the_journal_as_it_was() -> None:
    """Through JSON, with nothing lost."""
    detailed = report(
        unit("shop.service", aliases=("mail.service",), restarts=2, triggers=("x.service",), age=5),
        unit_files=frozenset(),
        listeners=(tcp(80, "shop.service", "shop"),),
        mounts=(mount("/srv", "nofail,ro"),),
        complaints=frozenset({"a: b"}),
        failed_lately=frozenset({"c.service"}),
    )
    for each in (BEFORE, detailed):
        assert health.from_json(json.loads(json.dumps(health.to_json(each)))) == each


def test_a_report_of_a_former_release_is_read() -> None:
    """It has no details."""
    former = dict(as_object(health.to_json(BEFORE)))
    del former["details"]
    assert health.from_json(former) == BEFORE
