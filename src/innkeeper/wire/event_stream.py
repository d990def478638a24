"""Write and read server-sent events: bytes in, events out.

Carries the part of the HTML standard (§9.2) that a service and its client need of each other.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StreamEvent:
    """One event of the stream."""

    #: What a reader gives back as ``Last-Event-ID``; empty where it has none.
    id: str = ""
    #: Its name.
    kind: str = "message"
    data: str = ""


#: Keeps a quiet connection open, and lets the service see that a reader has gone.
HEARTBEAT = b": \n\n"


def encode(event: StreamEvent) -> bytes:
    """Write one event. Line ends inside ``id`` and ``kind`` cannot break out of their field."""
    fields = [f"event: {_one_line(event.kind)}"]
    if event.id:
        fields.insert(0, f"id: {_one_line(event.id)}")
    fields += [f"data: {line}" for line in event.data.split("\n")]
    return ("\n".join(fields) + "\n\n").encode()


def _one_line(text: str) -> str:
    return text.replace("\r", " ").replace("\n", " ").replace("\0", " ")


class EventStream:
    """Reads a stream in pieces of any size."""

    def __init__(self) -> None:
        self._rest = b""
        self._fields: dict[str, list[str]] = {}
        #: The id of the last event read: where to resume.
        self.last_id = ""

    def feed(self, data: bytes) -> list[StreamEvent]:
        """Take the next bytes; returns the events that they complete."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        events = (self._line(line.rstrip(b"\r").decode(errors="replace")) for line in lines)
        return [event for event in events if event is not None]

    def _line(self, line: str) -> StreamEvent | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        if name:
            self._fields.setdefault(name, []).append(value.removeprefix(" "))
        return None

    def _dispatch(self) -> StreamEvent | None:
        fields, self._fields = self._fields, {}
        self.last_id = fields.get("id", [self.last_id])[-1]
        if "data" not in fields:
            return None
        kind = fields.get("event", ["message"])[-1]
        return StreamEvent(id=self.last_id, kind=kind, data="\n".join(fields["data"]))
