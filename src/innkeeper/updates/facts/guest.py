"""What an update run found out about its guest: before, during and after the update."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Self

from innkeeper.channels.ports import HealthReport, PackageChange, UpdateStatus
from innkeeper.updates import health
from innkeeper.updates.proof import Evidence
from innkeeper.wire.events import Json
from innkeeper.wire.json_fields import (
    JsonObject,
    as_int,
    as_list,
    as_row,
    as_str,
    get,
    get_bool,
    get_enum,
    get_int,
    get_list,
    get_optional,
    get_or,
    get_str,
    get_strs,
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """The guest's health before the update."""

    report: HealthReport
    #: Whether its agent answered before anything was begun.
    had_agent: bool
    #: Whether its agent can prepare updates; former agents cannot.
    can_prepare: bool = False
    #: How long it may take to go down or come up, as its agent says; 0 where it says nothing.
    away_seconds: int = 0

    def to_json(self) -> Mapping[str, Json]:
        """For the journal."""
        return {
            "away_seconds": self.away_seconds,
            "had_agent": self.had_agent,
            "can_prepare": self.can_prepare,
            "baseline": health.to_json(self.report),
        }

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        """From the journal."""
        return cls(
            report=get(data, "baseline", health.from_json),
            had_agent=data.get("had_agent") is True,
            can_prepare=data.get("can_prepare") is True,
            away_seconds=get_or(data, "away_seconds", as_int, 0),
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """All that the update needs is in the guest's caches."""

    #: What the agent says of it.
    text: str

    def to_json(self) -> Mapping[str, Json]:
        """For the journal."""
        return {"text": self.text}

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        """From the journal."""
        return cls(text=get_str(data, "text"))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Greeted:
    """The guest's agent answered after the wake."""

    #: The boot that it answered from.
    first_boot: str
    #: What the host had seen its QEMU write by then; ``None`` where it cannot say.
    written_bytes: int | None = None

    def to_json(self) -> Mapping[str, Json]:
        """For the journal."""
        return {"first_boot": self.first_boot, "written_bytes": self.written_bytes}

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        """From the journal."""
        written = data.get("written_bytes")
        return cls(
            first_boot=get_str(data, "first_boot"),
            written_bytes=written if isinstance(written, int) else None,
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Applied:
    """How the update ended in the guest."""

    status: UpdateStatus
    #: What the agent says of it.
    text: str
    packages: tuple[PackageChange, ...]
    #: Whether the guest rebooted on the way.
    saw_reboot: bool
    #: Whether it failed before it changed anything.
    unchanged: bool = False

    def to_json(self) -> Mapping[str, Json]:
        """For the journal."""
        return {
            "status": int(self.status),
            "text": self.text,
            "packages": [[p.name, p.old_version, p.new_version] for p in self.packages],
            "saw_reboot": self.saw_reboot,
            "unchanged": self.unchanged,
        }

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        """From the journal."""
        return cls(
            status=get_enum(data, "status", UpdateStatus),
            text=get_str(data, "text"),
            packages=get_list(data, "packages", _package),
            saw_reboot=get_bool(data, "saw_reboot"),
            unchanged=data.get("unchanged") is True,
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Accepted:
    """The agent says that the update succeeded."""

    #: The boot in which it ended.
    last_boot: str

    def to_json(self) -> Mapping[str, Json]:
        """For the journal."""
        return {"last_boot": self.last_boot}

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        """From the journal."""
        return cls(last_boot=get_str(data, "last_boot"))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Rebooted:
    """Whether the run itself rebooted the guest."""

    rebooted: bool
    #: What has not taken effect.
    findings: tuple[health.Finding, ...] = ()

    def to_json(self) -> Mapping[str, Json]:
        """For the journal."""
        return {"rebooted": self.rebooted, "findings": _findings_to_json(self.findings)}

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        """From the journal."""
        return cls(rebooted=get_bool(data, "rebooted"), findings=_findings(data))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Healthy:
    """The guest is no worse than before."""

    #: The boot that was looked at.
    healthy_boot: str
    #: What is worse than before, and does not count.
    findings: tuple[health.Finding, ...] = ()
    #: The units of jobs that failed because the update held the package manager's lock.
    disturbed: tuple[str, ...] = ()

    def to_json(self) -> Mapping[str, Json]:
        """For the journal."""
        return {
            "healthy_boot": self.healthy_boot,
            "findings": _findings_to_json(self.findings),
            "disturbed": list(self.disturbed),
        }

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        """From the journal."""
        return cls(
            healthy_boot=get_str(data, "healthy_boot"),
            findings=_findings(data),
            disturbed=get_or(data, "disturbed", lambda told: as_list(told, as_str), ()),
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Soaked:
    """The guest stayed well while it was watched."""

    #: What is worse than before, and does not count.
    findings: tuple[health.Finding, ...]
    #: What is proved of the update; ``None`` in journals of releases that did not look.
    evidence: Evidence | None = None

    def to_json(self) -> Mapping[str, Json]:
        """For the journal."""
        return {
            "findings": _findings_to_json(self.findings),
            "evidence": self.evidence.to_json() if self.evidence else None,
        }

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        """From the journal."""
        return cls(findings=_findings(data), evidence=get_optional(data, "evidence", Evidence.from_json))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Begun:
    """Whether the guest has begun an update whose end it never told."""

    has_begun: bool
    #: Whether it said last that it reboots the guest.
    was_rebooting: bool = False

    def to_json(self) -> Mapping[str, Json]:
        """For the journal."""
        return {"has_begun": self.has_begun, "was_rebooting": self.was_rebooting}

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        """From the journal."""
        return cls(has_begun=get_bool(data, "has_begun"), was_rebooting=get_bool(data, "was_rebooting"))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Printed:
    """What the guest's console said in the night."""

    #: How its last boot ended, and why, a line each.
    lines: tuple[str, ...]
    #: How often a kernel has panicked.
    panics: int

    def to_json(self) -> Mapping[str, Json]:
        """For the journal."""
        return {"lines": list(self.lines), "panics": self.panics}

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        """From the journal."""
        return cls(lines=get_strs(data, "lines"), panics=get_int(data, "panics"))


def _findings_to_json(findings: tuple[health.Finding, ...]) -> Json:
    return [health.finding_to_json(finding) for finding in findings]


def _findings(data: JsonObject) -> tuple[health.Finding, ...]:
    """What a phase found; none in journals of former releases."""
    return get_or(data, "findings", lambda told: as_list(told, health.finding_from_json), ())


def _package(value: Json) -> PackageChange:
    name, old, new = map(as_str, as_row(value, 3))
    return PackageChange(name=name, old_version=old, new_version=new)
