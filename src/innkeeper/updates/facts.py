"""Facts that phases of an update run found out, journalled for the phases after them.

Their JSON is that of release 0.1.0, key by key: a change of it needs a new version of ``Outcome``, but for
keys that have come since and may be missing.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping
from typing import Protocol, Self

from innkeeper.channels.ports import HealthReport, PackageChange, UpdateStatus
from innkeeper.machines.machine import MachineState
from innkeeper.machines.ports.backups import Checkpoint
from innkeeper.machines.undo.backups import Mended, checkpoints_from_json, checkpoints_to_json
from innkeeper.machines.undo.memory import MemoryPlan, MemoryRecord
from innkeeper.machines.undo.point import BaseRecord, Consistency, UndoPlan
from innkeeper.updates import health
from innkeeper.updates.booking import DiskChecksum
from innkeeper.updates.policy import UndoPointPolicy
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
    get_enum_name,
    get_int,
    get_list,
    get_moment,
    get_optional,
    get_or,
    get_str,
    get_strs,
)


class Facts(Protocol):
    """What one phase found out."""

    def to_json(self) -> Mapping[str, Json]:
        """For the journal."""

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        """From the journal. Raises ``JsonError``."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Admitted:
    """The machine can be maintained."""

    #: The state that it was found in.
    found: MachineState
    #: What its undo point will cover.
    plan: UndoPlan
    #: How it is taken; ``None`` in journals of releases that asked the policy each time.
    undo_point: UndoPointPolicy | None = None
    #: How its memory is kept; ``None`` where it is not.
    memory: MemoryPlan | None = None
    #: Why its memory is not kept although that was asked for; empty otherwise.
    why_no_memory: str = ""
    #: How long the log of its console was; ``None`` where none can be read.
    console_bytes: int | None = None

    def to_json(self) -> Mapping[str, Json]:
        """For the journal."""
        return {
            "found": self.found.name,
            "plan": self.plan.to_json(),
            "undo_point": None if self.undo_point is None else str(self.undo_point),
            "memory": None if self.memory is None else self.memory.to_json(),
            "why_no_memory": self.why_no_memory,
            "console_bytes": self.console_bytes,
        }

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        """From the journal."""
        return cls(
            found=get_enum_name(data, "found", MachineState),
            plan=get(data, "plan", UndoPlan.from_json),
            undo_point=get_enum(data, "undo_point", UndoPointPolicy) if data.get("undo_point") else None,
            memory=get_optional(data, "memory", MemoryPlan.from_json),
            why_no_memory=get_or(data, "why_no_memory", as_str, ""),
            console_bytes=get_optional(data, "console_bytes", as_int),
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
class Settled:
    """The machine is as its undo point is to find it."""

    #: The checkpoints of incremental backups that it had then.
    checkpoints: tuple[Checkpoint, ...]

    def to_json(self) -> Mapping[str, Json]:
        """For the journal."""
        return {"checkpoints": checkpoints_to_json(self.checkpoints)}

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        """From the journal."""
        return cls(checkpoints=get(data, "checkpoints", checkpoints_from_json))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Protected:
    """The undo point is taken: from here on a stop rolls back."""

    consistency: Consistency
    #: The memory that was kept at the same moment; ``None`` where none was.
    memory: MemoryRecord | None = None
    #: Why it was not kept although that was planned; empty otherwise.
    why_no_memory: str = ""

    def to_json(self) -> Mapping[str, Json]:
        """For the journal."""
        return {
            "protected": True,
            "consistency": str(self.consistency),
            "memory": None if self.memory is None else self.memory.to_json(),
            "why_no_memory": self.why_no_memory,
        }

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        """From the journal."""
        return cls(
            consistency=get_enum(data, "consistency", Consistency),
            memory=get_optional(data, "memory", MemoryRecord.from_json),
            why_no_memory=get_or(data, "why_no_memory", as_str, ""),
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """What the base disks were like when the undo point had been taken."""

    bases: tuple[BaseRecord, ...]

    def to_json(self) -> Mapping[str, Json]:
        """For the journal."""
        return {"bases": [base.to_json() for base in self.bases]}

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        """From the journal."""
        return cls(bases=get_list(data, "bases", BaseRecord.from_json))


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
class Rested:
    """A machine that was found off was asked to power off."""

    #: Whether its guest has rebooted each time, and still runs.
    reboots_instead: bool

    def to_json(self) -> Mapping[str, Json]:
        """For the journal."""
        return {"reboots_instead": self.reboots_instead}

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        """From the journal."""
        return cls(reboots_instead=get_bool(data, "reboots_instead"))


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


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """What a machine stands on whose guest nothing has changed."""

    #: Whether it runs on its undo disks, so that what it wrote to them is merged.
    on_overlays: bool

    def to_json(self) -> Mapping[str, Json]:
        """For the journal."""
        return {"on_overlays": self.on_overlays}

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        """From the journal."""
        return cls(on_overlays=get_bool(data, "on_overlays"))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Merged:
    """The undo disks are in their bases."""

    #: Who held the disks past the end of the window; empty where nobody did.
    held_by: str
    #: ``None`` in journals of releases that did not note it.
    merged_at: dt.datetime | None

    def to_json(self) -> Mapping[str, Json]:
        """For the journal."""
        merged_at = None if self.merged_at is None else self.merged_at.isoformat()
        return {"held_by": self.held_by, "merged_at": merged_at}

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        """From the journal."""
        return cls(
            held_by=get_or(data, "held_by", as_str, ""),
            merged_at=get_moment(data, "merged_at") if data.get("merged_at") else None,
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Verified:
    """What the base disks hold before the update and after the roll back."""

    checksums: tuple[DiskChecksum, ...]

    def to_json(self) -> Mapping[str, Json]:
        """For the journal."""
        return {"checksums": [[each.path, each.before, each.after] for each in self.checksums]}

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        """From the journal."""
        return cls(checksums=get_list(data, "checksums", _checksum))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class BroughtBack:
    """The machine stands still at the moment of its undo point, or why it does not."""

    #: Why its memory cannot be gone back to; empty where it was.
    why_not: str

    def to_json(self) -> Mapping[str, Json]:
        """For the journal."""
        return {"why_not": self.why_not}

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        """From the journal."""
        return cls(why_not=get_str(data, "why_not"))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Tidied:
    """The undo disks are gone."""

    #: What became of backups that were taken while they were on.
    backups: Mended

    def to_json(self) -> Mapping[str, Json]:
        """For the journal."""
        return {
            "backups_taken": list(self.backups.checkpoints),
            "backups_lost": list(self.backups.lost),
        }

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        """From the journal."""
        return cls(
            backups=Mended(checkpoints=get_strs(data, "backups_taken"), lost=get_strs(data, "backups_lost"))
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Left:
    """The state that the machine was left in."""

    state: MachineState
    #: What a person should know of how it came to it; empty for nothing.
    remark: str = ""

    def to_json(self) -> Mapping[str, Json]:
        """For the journal."""
        return {"left": self.state.name, "left_remark": self.remark}

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        """From the journal."""
        return cls(
            state=get_enum_name(data, "left", MachineState),
            remark=get_or(data, "left_remark", as_str, ""),
        )


def _findings_to_json(findings: tuple[health.Finding, ...]) -> Json:
    return [health.finding_to_json(finding) for finding in findings]


def _findings(data: JsonObject) -> tuple[health.Finding, ...]:
    """What a phase found; none in journals of former releases."""
    return get_or(data, "findings", lambda told: as_list(told, health.finding_from_json), ())


def _package(value: Json) -> PackageChange:
    name, old, new = map(as_str, as_row(value, 3))
    return PackageChange(name=name, old_version=old, new_version=new)


def _checksum(value: Json) -> DiskChecksum:
    path, before, after = map(as_str, as_row(value, 3))
    return DiskChecksum(path=path, before=before, after=after)
