"""Server-sent events: the event bus as an HTTP response."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from fastapi.responses import StreamingResponse

from innkeeper.server.events.bus import EventBus
from innkeeper.server.events.log import Numbered
from innkeeper.wire.event_stream import HEARTBEAT, StreamEvent, encode
from innkeeper.wire.events import Event, EventKind

#: What the description says of such an answer.
STREAM: dict[int | str, dict[str, object]] = {200: {"content": {"text/event-stream": {}}}}

#: A quiet stream says this often that it is there.
HEARTBEAT_SECONDS = 15.0


def event_stream(
    bus: EventBus,
    last_id: str,
    kinds: tuple[str, ...],
    *,
    subject: str | None = None,
    until: EventKind | None = None,
    sees: Callable[[Event], Awaitable[bool]] | None = None,
) -> StreamingResponse:
    """Return a response that streams events of these kinds and this subject; ends after one ``until``.

    ``sees`` leaves out what the listener may not hear of.
    """
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    pieces = _pieces(bus, last_id, kinds, subject, until, sees)
    return StreamingResponse(pieces, media_type="text/event-stream", headers=headers)


async def _pieces(
    bus: EventBus,
    last_id: str,
    kinds: tuple[str, ...],
    subject: str | None,
    until: EventKind | None,
    sees: Callable[[Event], Awaitable[bool]] | None,
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
                wanted = subject in (None, numbered.event.subject) or not numbered.event.subject
                if wanted and (sees is None or await sees(numbered.event)):
                    yield encode(_said(numbered))
                    if numbered.event.kind == until:
                        return
                following = asyncio.ensure_future(anext(events, None))
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                await following


def _said(numbered: Numbered) -> StreamEvent:
    return StreamEvent(id=numbered.id, kind=numbered.event.kind, data=numbered.json.decode())
