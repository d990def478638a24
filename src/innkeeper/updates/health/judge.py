"""Compare a guest's health with what it was before the update."""

from __future__ import annotations

from collections.abc import Iterator

from innkeeper.channels.ports import WANTED, HealthReport
from innkeeper.updates.health import listeners, mounts, routes, units
from innkeeper.updates.health.finding import Finding, Judgement

#: What an init says of a guest that waits for somebody at its console.
_RESCUE = "maintenance"


def judge(before: HealthReport, after: HealthReport, *, must_have_rebooted: bool) -> Judgement:
    """Return what is worse than before."""
    return Judgement(
        findings=(
            *units.findings(before, after),
            *listeners.findings(before, after),
            *mounts.findings(before, after),
            *routes.findings(before, after),
            *_checks(before, after),
            *_packages(before, after),
            *_system(before, after, must_have_rebooted),
        )
    )


def is_settled(report: HealthReport) -> bool:
    """Whether the guest has finished booting, as far as it says."""
    return report.system_state not in ("initializing", "starting")


def _checks(before: HealthReport, after: HealthReport) -> Iterator[Finding]:
    for name, text in sorted(after.failed_checks.items()):
        if name in before.failed_checks:
            continue
        wanted = name.startswith(WANTED)
        plain = name.removeprefix(WANTED)
        yield Finding(
            subject=f"check:{plain}",
            sentence=f"The check {plain}{', which is only wanted,' if wanted else ''} failed: {text}",
            is_fault=not wanted,
            may_pass=not wanted,
        )


def _packages(before: HealthReport, after: HealthReport) -> Iterator[Finding]:
    """What was wrong with the database before is no fault of the update; what is new is."""
    if before.details is not None and after.details is not None:
        for complaint in sorted(after.details.complaints - before.details.complaints):
            yield Finding(
                subject="packages", sentence=f"The package database is worse than before: {complaint}."
            )
    elif before.package_database_ok and not after.package_database_ok:
        yield Finding(subject="packages", sentence="The package database is broken.")


def _system(before: HealthReport, after: HealthReport, must_have_rebooted: bool) -> Iterator[Finding]:
    if after.system_state == _RESCUE != before.system_state:
        yield Finding(
            subject="boot",
            sentence="The guest is in rescue mode: its boot waits for somebody at its console.",
        )
    if must_have_rebooted and before.boot_id == after.boot_id:
        yield Finding(
            subject="boot", sentence="A reboot was due, and the guest still runs the boot it had before."
        )
