"""Answer for events: the stream of what happens in the house."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header
from fastapi.responses import StreamingResponse

from innkeeper.identity.roles import Role
from innkeeper.server.identity.needs import needs
from innkeeper.server.identity.seen import sees_event
from innkeeper.server.identity.subjects import what_they_see
from innkeeper.server.routes.asking import TheCaller, TheHouse
from innkeeper.server.streams import STREAM, event_stream

router = APIRouter(prefix="/events", tags=["events"])


@router.get(
    "",
    operation_id="follow_events",
    response_class=StreamingResponse,
    responses=STREAM,
    dependencies=needs(Role.VIEWER, what_they_see),
)
async def follow_events(
    house: TheHouse, caller: TheCaller, kinds: str = "*", last_event_id: Annotated[str, Header()] = ""
) -> StreamingResponse:
    """What happens from now on, or after ``Last-Event-ID``; ``kinds`` are patterns parted by commas."""
    return event_stream(house.events, last_event_id, tuple(kinds.split(",")), sees=sees_event(house, caller))
