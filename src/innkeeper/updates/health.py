"""Judge a guest's health as a difference: only what is new counts against an update."""

from __future__ import annotations

import dataclasses
from typing import cast

from innkeeper.channels.ports import WANTED, HealthReport
from innkeeper.wire.events import Json


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
    fields = {field.name: getattr(report, field.name) for field in dataclasses.fields(report)}
    return {name: sorted(v) if isinstance(v, frozenset) else v for name, v in fields.items()}


def from_json(data: Json) -> HealthReport:
    """From the journal."""
    fields = dict(cast("dict[str, Json]", data))
    sets = {name: frozenset(cast("list[str]", fields.pop(name))) for name in _SETS}
    return HealthReport(**sets, **fields)  # type: ignore[arg-type] # the journal holds what to_json wrote


_SETS = ("failed_units", "listeners", "mounts")
