"""Send the bus's events to one listener as server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fastapi.responses import StreamingResponse

from innkeeper.server.events import EventBus, Numbered
from innkeeper.wire.event_stream import HEARTBEAT, StreamEvent, encode
from innkeeper.wire.messages import EventMessage

#: A quiet stream says this often that it is there.
HEARTBEAT_SECONDS = 15.0


def event_stream(
    bus: EventBus,
    last_id: str,
    kinds: tuple[str, ...],
    *,
    subject: str | None = None,
    until: str | None = None,
) -> StreamingResponse:
    """The response that carries the events of these kinds and this subject; ends after one ``until``."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    pieces = _pieces(bus, last_id, kinds, subject, until)
    return StreamingResponse(pieces, media_type="text/event-stream", headers=headers)


async def _pieces(
    bus: EventBus, last_id: str, kinds: tuple[str, ...], subject: str | None, until: str | None
) -> AsyncIterator[bytes]:
    async with contextlib.aclosing(bus.listen(last_id, kinds)) as events:
        following = asyncio.ensure_future(anext(events, None))
        try:
            yield HEARTBEAT
            while True:
                done, _ = await asyncio.wait({following}, timeout=HEARTBEAT_SECONDS)
                if not done:
                    yield HEARTBEAT
                    continue
                numbered = following.result()
                if numbered is None:
                    return
                if subject in (None, numbered.event.subject) or not numbered.event.subject:
                    yield encode(_said(numbered))
                    if numbered.event.kind == until:
                        return
                following = asyncio.ensure_future(anext(events, None))
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                await following


def _said(numbered: Numbered) -> StreamEvent:
    event = numbered.event
    message = EventMessage(
        id=numbered.id, kind=event.kind, subject=event.subject, at=event.at, data=dict(event.data)
    )
    return StreamEvent(id=numbered.id, kind=event.kind, data=message.model_dump_json())
