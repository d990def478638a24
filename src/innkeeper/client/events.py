"""Follow events of the service, across lost connections."""

from __future__ import annotations

import time
from collections.abc import Iterator

from pydantic import ValidationError

from innkeeper.client.problems import foreign, is_away
from innkeeper.client.transport import Transport
from innkeeper.errors import ServiceError
from innkeeper.wire.messages import EventMessage


def follow(
    transport: Transport, path: str, params: dict[str, str], *, last_id: str = "", away_seconds: float = 60.0
) -> Iterator[EventMessage]:
    """Every event from now on, or after ``last_id``, until the service ends the stream.

    A lost connection is made again, and takes up after the last event read, for ``away_seconds``.
    """
    away_since: float | None = None
    while True:
        try:
            for event in transport.stream(path, params, last_id):
                away_since, last_id = None, event.id or last_id
                yield _message(event.data)
            return
        except ServiceError as error:
            if not is_away(error):
                raise
            away_since = away_since or time.monotonic()
            if time.monotonic() - away_since >= away_seconds:
                raise
            transport.pause(min(0.5, away_seconds))


def _message(data: str) -> EventMessage:
    try:
        return EventMessage.model_validate_json(data)
    except ValidationError as error:
        raise foreign("GET /v1/events") from error
