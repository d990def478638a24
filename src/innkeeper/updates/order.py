"""Say what an update run is asked to do: the argument of its task."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
from collections.abc import Mapping
from typing import cast

from innkeeper.updates.booking import Booking
from innkeeper.wire.events import Json

#: The kind of task that an update run is.
UPDATE_RUN = "update_run"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RunOrder:
    """One update to run on one machine."""

    machine: str
    #: The host that has the machine.
    host: str
    identifier: str
    label: str
    context: bytes
    #: When the run must have begun to roll back, so that it is over when its window closes.
    stop_at: dt.datetime
    started_at: dt.datetime

    @classmethod
    def of(cls, booking: Booking, *, host: str, stop_at: dt.datetime, now: dt.datetime) -> RunOrder:
        """Order the update that was booked."""
        return cls(
            machine=booking.machine,
            host=host,
            identifier=booking.identifier,
            label=booking.label,
            context=booking.context,
            stop_at=stop_at,
            started_at=now,
        )

    @property
    def description(self) -> str:
        """What the task does, for a person."""
        return f"Update {self.machine}: {self.label or self.identifier}"

    def to_json(self) -> Mapping[str, Json]:
        """For the task's argument."""
        return {
            "machine": self.machine,
            "host": self.host,
            "identifier": self.identifier,
            "label": self.label,
            "context": base64.b64encode(self.context).decode(),
            "stop_at": self.stop_at.isoformat(),
            "started_at": self.started_at.isoformat(),
        }

    @classmethod
    def from_json(cls, argument: Mapping[str, Json]) -> RunOrder:
        """From the task's argument."""
        fields = cast("Mapping[str, str]", argument)
        return cls(
            machine=fields["machine"],
            host=fields["host"],
            identifier=fields["identifier"],
            label=fields["label"],
            context=base64.b64decode(fields["context"]),
            stop_at=dt.datetime.fromisoformat(fields["stop_at"]),
            started_at=dt.datetime.fromisoformat(fields["started_at"]),
        )
