"""The order of an update run: the argument of its task."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
from collections.abc import Mapping
from typing import Final

from innkeeper.machines.machine import Machine
from innkeeper.updates.booking import Booking
from innkeeper.wire.events import Json
from innkeeper.wire.json_fields import (
    JsonObject,
    as_bool,
    as_str,
    get_bytes,
    get_moment,
    get_optional,
    get_str,
    refuse_newer,
)

#: The kind of task that an update run is.
UPDATE_RUN = "update_run"
#: The version of an order's JSON. See docs/decisions/0043-journals-are-versioned.md before it changes.
_VERSION: Final = 2


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RunOrder:
    """One update to run on one machine."""

    #: The machine's name at its host.
    machine: str
    #: The host's id; its name in orders from before hosts had ids.
    host: str
    identifier: str
    label: str
    context: bytes
    #: When the run must have begun to roll back, so that it is over when its window closes.
    stop_at: dt.datetime
    started_at: dt.datetime
    #: The machine's key, and what people call it; empty in orders from before machines had keys.
    key: str = ""
    title: str = ""
    #: Whether phases that have nothing to do are no steps of its journal; not so in former releases' orders.
    leaves_out_idle: bool = False
    #: Whether the guest prepares the update before anything is protected; not so in former releases' orders.
    prepares: bool = False
    #: Whether guest and console are looked at before an update is undone; not so in former releases' orders.
    looks_back: bool = False

    @classmethod
    def of(cls, booking: Booking, machine: Machine, *, stop_at: dt.datetime, now: dt.datetime) -> RunOrder:
        """Order the update that was booked."""
        return cls(
            machine=machine.name,
            host=machine.host_id,
            key=machine.key,
            title=machine.title,
            identifier=booking.identifier,
            label=booking.label,
            context=booking.context,
            stop_at=stop_at,
            started_at=now,
            leaves_out_idle=True,
            prepares=True,
            looks_back=True,
        )

    @property
    def of_machine(self) -> str:
        """The machine, for programs: as its booking and its agent are found."""
        return self.key or self.machine

    @property
    def description(self) -> str:
        """What the task does, for a person."""
        return f"Update {self.title or self.machine}: {self.label or self.identifier}"

    def to_json(self) -> Mapping[str, Json]:
        """For the task's argument."""
        return {
            "version": _VERSION,
            "machine": self.machine,
            "host": self.host,
            "identifier": self.identifier,
            "label": self.label,
            "context": base64.b64encode(self.context).decode(),
            "stop_at": self.stop_at.isoformat(),
            "started_at": self.started_at.isoformat(),
            "key": self.key,
            "title": self.title,
            "leaves_out_idle": self.leaves_out_idle,
            "prepares": self.prepares,
            "looks_back": self.looks_back,
        }

    @classmethod
    def from_json(cls, argument: JsonObject) -> RunOrder:
        """From the task's argument. Raises ``JsonError``."""
        refuse_newer(argument, _VERSION)
        return cls(
            machine=get_str(argument, "machine"),
            host=get_str(argument, "host"),
            identifier=get_str(argument, "identifier"),
            label=get_str(argument, "label"),
            context=get_bytes(argument, "context"),
            stop_at=get_moment(argument, "stop_at"),
            started_at=get_moment(argument, "started_at"),
            key=get_optional(argument, "key", as_str) or "",
            title=get_optional(argument, "title", as_str) or "",
            leaves_out_idle=get_optional(argument, "leaves_out_idle", as_bool) or False,
            prepares=get_optional(argument, "prepares", as_bool) or False,
            looks_back=get_optional(argument, "looks_back", as_bool) or False,
        )
