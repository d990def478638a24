"""Events of one host and its machines, published on the event loop."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from innkeeper.machines.ports.identity import HostIdentity
from innkeeper.wire.events import Event, EventKind, Json, Publish

_NO_DATA: Mapping[str, Json] = {}


class Announcer:
    """Publishes events of one host, each with the host's name and the time."""

    def __init__(self, host: str, identity: HostIdentity, publish: Publish) -> None:
        self.host = host
        self._identity = identity
        self._publish = publish

    def say(self, kind: EventKind, subject: str, reason: str = "") -> None:
        """Publish an event, with a reason where there is one."""
        self.publish(kind, subject, {"reason": reason} if reason else _NO_DATA)

    def say_of(self, kind: EventKind, name: str, uuid: str, reason: str = "") -> None:
        """Publish an event of a machine whose UUID is at hand, with the machine's key."""
        key = {"key": f"{self._identity.id}/{uuid}"}
        self.publish(kind, name, {**key, "reason": reason} if reason else key)

    def publish(self, kind: EventKind, subject: str, data: Mapping[str, Json]) -> None:
        """Publish an event with its data."""
        at = dt.datetime.now(dt.UTC)
        self._publish(Event(kind=kind, subject=subject, at=at, data={"host": self.host, **data}))
