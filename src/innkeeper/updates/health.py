"""A guest's health, judged as a difference: only what is new counts against an update."""

from __future__ import annotations

from typing import Final

from innkeeper.channels.ports import WANTED, HealthReport
from innkeeper.wire.events import Json
from innkeeper.wire.json_fields import (
    as_object,
    as_str,
    get_bool,
    get_object,
    get_str,
    get_strs,
    refuse_newer,
)

#: The version of a report's JSON. See docs/decisions/0043-journals-are-versioned.md before it changes.
_VERSION: Final = 1


def findings(before: HealthReport, after: HealthReport, *, must_have_rebooted: bool) -> tuple[str, ...]:
    """What is worse than before, a sentence each; empty for a guest that is no worse."""
    found = [
        *(f"The unit {unit} has failed." for unit in sorted(after.failed_units - before.failed_units)),
        *(
            f"Nothing listens on {_address(place)} any more."
            for place in sorted(before.listeners - after.listeners)
        ),
        *(f"{place} is not mounted any more." for place in sorted(before.mounts - after.mounts)),
        *(
            f"The check {name} failed: {text}"
            for name, text in _new_failures(before, after)
            if not name.startswith(WANTED)
        ),
    ]
    if before.package_database_ok and not after.package_database_ok:
        found.append("The package database is broken.")
    if must_have_rebooted and before.boot_id == after.boot_id:
        found.append("A reboot was due, and the guest still runs the boot it had before.")
    return tuple(found)


def warnings(before: HealthReport, after: HealthReport) -> tuple[str, ...]:
    """What is worse than before and no reason to roll back, a sentence each."""
    return tuple(
        f"The check {name.removeprefix(WANTED)}, which is only wanted, failed: {text}"
        for name, text in _new_failures(before, after)
        if name.startswith(WANTED)
    )


def is_settled(report: HealthReport) -> bool:
    """Whether the guest has finished booting, as far as it says."""
    return report.system_state not in ("initializing", "starting")


def _address(listener: str) -> str:
    """As people write it: ``tcp:::1:631`` is ``tcp [::1]:631``."""
    protocol, _, place = listener.partition(":")
    address, _, port = place.rpartition(":")
    return f"{protocol} [{address}]:{port}" if ":" in address else f"{protocol} {place}"


def _new_failures(before: HealthReport, after: HealthReport) -> list[tuple[str, str]]:
    return sorted(
        (name, text) for name, text in after.failed_checks.items() if name not in before.failed_checks
    )


def to_json(report: HealthReport) -> Json:
    """For the journal."""
    return {
        "version": _VERSION,
        "boot_id": report.boot_id,
        "kernel": report.kernel,
        "system_state": report.system_state,
        "failed_units": [*sorted(report.failed_units)],
        "listeners": [*sorted(report.listeners)],
        "mounts": [*sorted(report.mounts)],
        "package_database_ok": report.package_database_ok,
        "reboot_required": report.reboot_required,
        "failed_checks": report.failed_checks,
    }


def from_json(data: Json) -> HealthReport:
    """From the journal. Raises ``JsonError``."""
    fields = as_object(data)
    refuse_newer(fields, _VERSION)
    checks = get_object(fields, "failed_checks")
    return HealthReport(
        boot_id=get_str(fields, "boot_id"),
        kernel=get_str(fields, "kernel"),
        system_state=get_str(fields, "system_state"),
        failed_units=frozenset(get_strs(fields, "failed_units")),
        listeners=frozenset(get_strs(fields, "listeners")),
        mounts=frozenset(get_strs(fields, "mounts")),
        package_database_ok=get_bool(fields, "package_database_ok"),
        reboot_required=get_bool(fields, "reboot_required"),
        failed_checks={name: as_str(text) for name, text in checks.items()},
    )
