"""Events of one host and its machines, published on the event loop."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from innkeeper.wire.events import Event, EventKind, Json, Publish

_NO_DATA: Mapping[str, Json] = {}


class Announcer:
    """Publishes events of one host, each with the host's name and the time."""

    def __init__(self, host: str, publish: Publish) -> None:
        self.host = host
        self._publish = publish

    def say(self, kind: EventKind, subject: str, reason: str = "") -> None:
        """Publish an event, with a reason where there is one."""
        self.publish(kind, subject, {"reason": reason} if reason else _NO_DATA)

    def publish(self, kind: EventKind, subject: str, data: Mapping[str, Json]) -> None:
        """Publish an event with its data."""
        at = dt.datetime.now(dt.UTC)
        self._publish(Event(kind=kind, subject=subject, at=at, data={"host": self.host, **data}))
