"""Health reports and findings in the journal of an update run."""

from __future__ import annotations

from typing import Final

from innkeeper.channels.health_statements import details_to_json, read_details
from innkeeper.channels.ports import HealthReport
from innkeeper.updates.health.finding import Finding
from innkeeper.wire.events import Json
from innkeeper.wire.json_fields import (
    as_object,
    as_str,
    get_bool,
    get_int,
    get_object,
    get_optional,
    get_str,
    get_strs,
    refuse_newer,
)

#: The version of a report's JSON. See docs/decisions/0043-journals-are-versioned.md before it changes.
_VERSION: Final = 1


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
        "details": None if report.details is None else details_to_json(report.details),
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
        details=get_optional(fields, "details", read_details),
    )


def finding_to_json(finding: Finding) -> Json:
    """For the journal."""
    return {
        "subject": finding.subject,
        "sentence": finding.sentence,
        "is_fault": finding.is_fault,
        "may_pass": finding.may_pass,
        "was": finding.was,
        "unit": finding.unit,
        "usual_seconds": finding.usual_seconds,
        "evidence": [*finding.evidence],
        "is_ignored": finding.is_ignored,
    }


def finding_from_json(data: Json) -> Finding:
    """From the journal. Raises ``JsonError``."""
    fields = as_object(data)
    return Finding(
        subject=get_str(fields, "subject"),
        sentence=get_str(fields, "sentence"),
        is_fault=get_bool(fields, "is_fault"),
        may_pass=get_bool(fields, "may_pass"),
        was=get_str(fields, "was"),
        unit=get_str(fields, "unit"),
        usual_seconds=get_int(fields, "usual_seconds"),
        evidence=get_strs(fields, "evidence"),
        is_ignored=get_bool(fields, "is_ignored"),
    )
