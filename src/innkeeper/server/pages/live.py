"""The live event stream of pages: events in batches, serialised once for all viewers."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from fastapi.responses import StreamingResponse
from starlette.requests import Request
from starlette.responses import Response

from innkeeper.server.events.bus import EventBus
from innkeeper.server.identity.needs import caller_of
from innkeeper.server.identity.subjects import house_of
from innkeeper.server.identity.visibility import sees_event
from innkeeper.wire.event_stream import HEARTBEAT
from innkeeper.wire.events import Event

#: What happens within this after the first event travels with it: nobody sees the difference, and two
#: hundred viewers cost a write for each moment instead of one for each event.
GATHER_SECONDS = 0.015
#: A quiet stream says this often that it is there.
HEARTBEAT_SECONDS = 15.0
#: Patterns of kinds that a page may ask for at once.
_MAX_KINDS = 20


async def stream(request: Request) -> Response:
    """Stream events as lists; resumes after ``Last-Event-ID``.

    Begins ``after`` what the page was made of: what happened while it was on its way is told too.
    """
    kinds = tuple(request.query_params.get("kinds", "*")[:400].split(",")[:_MAX_KINDS])
    last_id = request.headers.get("last-event-id", "") or request.query_params.get("after", "")
    house = house_of(request)
    pieces = _pieces(house.events, last_id, kinds, sees_event(house, caller_of(request)))
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(pieces, media_type="text/event-stream", headers=headers)


async def mark(request: Request) -> None:
    """Record the newest event's id before a page is rendered."""
    request.state.since = await house_of(request).events.newest_id()


async def _pieces(
    bus: EventBus, last_id: str, kinds: tuple[str, ...], sees: Callable[[Event], Awaitable[bool]]
) -> AsyncIterator[bytes]:
    batches = bus.batches(last_id, kinds, gather_seconds=GATHER_SECONDS, timeout_seconds=HEARTBEAT_SECONDS)
    yield HEARTBEAT
    async with contextlib.aclosing(batches):
        async for batch in batches:
            if not batch:
                yield HEARTBEAT
                continue
            told = b",".join([numbered.json for numbered in batch if await sees(numbered.event)])
            if told:
                yield b"id: %b\ndata: [%b]\n\n" % (batch[-1].id.encode(), told)
