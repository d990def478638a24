"""What an update run found out about its machine, and what its undo point holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Self

from innkeeper.machines.machine import MachineState
from innkeeper.machines.ports.backups import Checkpoint
from innkeeper.machines.undo.backups import checkpoints_from_json, checkpoints_to_json
from innkeeper.machines.undo.memory import MemoryPlan, MemoryRecord
from innkeeper.machines.undo.point import BaseRecord, Consistency, UndoPlan
from innkeeper.updates.policy import UndoPointPolicy
from innkeeper.wire.events import Json
from innkeeper.wire.json_fields import (
    JsonObject,
    as_int,
    as_str,
    get,
    get_enum,
    get_enum_name,
    get_list,
    get_optional,
    get_or,
)


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
