"""Describe what happened, as one stream of values."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable, Mapping

Json = str | int | float | bool | None | list["Json"] | Mapping[str, "Json"]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One thing that happened."""

    #: Past tense and dotted: ``machine.started``, ``task.changed``, ``update.state_changed``.
    kind: str
    #: What it happened to: a machine's name, a task's id, a booking's key.
    subject: str
    #: When, aware and in UTC.
    at: dt.datetime
    #: What else is known.
    data: Mapping[str, Json] = dataclasses.field(default_factory=dict)


#: How a room tells the house what happened. It never blocks and never raises.
Publish = Callable[[Event], None]
