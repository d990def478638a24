"""A request that finds no database is answered in time, wherever on its way it asks for it."""

from __future__ import annotations

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from innkeeper.errors import StoreAway
from innkeeper.server.http.patience import LONGEST_SECONDS, BoundedPatience
from innkeeper.tasks import patience


async def _answer(app: ASGIApp) -> httpx.Response:
    transport = httpx.ASGITransport(BoundedPatience(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        return await http.get("/")


async def test_middleware_that_finds_no_database_is_answered_for() -> None:
    """503, when to ask again, and what to look for first."""

    async def away(scope: Scope, receive: Receive, send: Send) -> None:
        raise StoreAway("The database does not answer.", retry_after=7)

    answer = await _answer(away)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "7")
    assert answer.json()["code"] == "SCHED_E_SERVICE_NOT_AVAILABLE"


async def test_an_answer_that_has_begun_is_not_begun_again() -> None:
    """A stream that loses the database breaks off."""

    async def breaks_off(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise StoreAway("The database does not answer.")

    with pytest.raises(StoreAway):
        await _answer(breaks_off)


async def test_requests_wait_a_bounded_time_and_work_does_not() -> None:
    """What a request begins within ``endless`` waits as long as it takes."""
    found: list[float | None] = [patience.limit_seconds()]

    async def look(scope: Scope, receive: Receive, send: Send) -> None:
        found.append(patience.limit_seconds())
        with patience.endless():
            found.append(patience.limit_seconds())
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    assert (await _answer(look)).status_code == 204
    assert [*found, patience.limit_seconds()] == [None, LONGEST_SECONDS, None, None]
