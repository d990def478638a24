"""What the ending of an update run came to: what was merged, put back, and left."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping
from typing import Self

from innkeeper.machines.machine import MachineState
from innkeeper.machines.undo.backups import Mended
from innkeeper.updates.booking import DiskChecksum
from innkeeper.wire.events import Json
from innkeeper.wire.json_fields import (
    JsonObject,
    as_row,
    as_str,
    get_bool,
    get_enum_name,
    get_list,
    get_moment,
    get_or,
    get_str,
    get_strs,
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Rested:
    """A machine that was found off was asked to power off."""

    #: Whether its guest has rebooted each time, and still runs.
    reboots_instead: bool
    #: The boot that it runs in then; empty where it does not run.
    boot: str = ""

    def to_json(self) -> Mapping[str, Json]:
        """For the journal."""
        return {"reboots_instead": self.reboots_instead, "boot": self.boot}

    @classmethod
    def from_json(cls, data: JsonObject) -> Self:
        """From the journal."""
        return cls(reboots_instead=get_bool(data, "reboots_instead"), boot=get_or(data, "boot", as_str, ""))


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


def _checksum(value: Json) -> DiskChecksum:
    path, before, after = map(as_str, as_row(value, 3))
    return DiskChecksum(path=path, before=before, after=after)
