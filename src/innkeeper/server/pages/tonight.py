"""The page of the night: what is planned, what runs, and in the morning what has happened."""

from __future__ import annotations

import datetime as dt
from typing import cast

from starlette.requests import Request
from starlette.responses import Response

from innkeeper.errors import InvalidArgument
from innkeeper.identity.roles import THE_INN
from innkeeper.server.identity.needs import caller_of
from innkeeper.server.pages.door import Door
from innkeeper.server.pages.nights import Night, night_of
from innkeeper.server.pages.rendering import answer, is_fragment, show
from innkeeper.server.pages.shared import Shared
from innkeeper.server.pages.timeline import laid_out
from innkeeper.server.pages.visitor import visitor_of
from innkeeper.wire.events import EventGroup, filter_of

#: For so many seconds a night is the same for all who look: two hundred pages hear of an update at once.
NIGHT_SECONDS = 0.7
#: Seconds between two looks at a night in which nothing is told: the line of this moment moves.
_LOOK_SECONDS = 30
#: Simulated time goes faster, and its nights are looked at more often.
_LOOK_SECONDS_FAKE = 3


async def tonight(request: Request) -> Response:
    """Show the current night, or the one that ``night`` names by the date of its evening."""
    inn = (await visitor_of(request)).inn
    asked = _date(request.query_params.get("night"))
    night = await _night(request, inn.now, asked)
    one = dt.timedelta(days=1)
    values = {
        "night": night,
        # A page that is left open goes over to the next night by itself, unless it was asked for this one.
        "url": f"/tonight?night={asked}" if asked else "/tonight",
        "timeline": laid_out(night),
        "before": night.date - one,
        "after": night.date + one,
        "look_seconds": _LOOK_SECONDS_FAKE if inn.fake else _LOOK_SECONDS,
    }
    if is_fragment(request):
        return await answer(request, "tonight_night.html", values)
    return await show(
        request, "tonight.html", values, here="Tonight", live=filter_of(EventGroup.UPDATE, EventGroup.TASK)
    )


async def _night(request: Request, now: dt.datetime, date: dt.date | None) -> Night:
    """Return the night's contents, shared by all visitors who may see the same."""
    caller = caller_of(request)
    nights = cast("Shared[Night]", request.app.state.nights)
    key = (date, caller.name if caller.role_on(THE_INN) is None else "", caller.grants, caller.ceiling)
    return await nights.get(key, lambda: night_of(Door(request), now, date))


def _date(text: str | None) -> dt.date | None:
    if not text:
        return None
    try:
        found = dt.date.fromisoformat(text)
    except ValueError as error:
        raise InvalidArgument(
            f"“{text[:40]}” is not a date.",
            advice="Give the date of the night's evening, such as 2026-11-24.",
        ) from error
    if not dt.date(1970, 1, 2) <= found <= dt.date(9000, 1, 1):
        raise InvalidArgument(f"There is no night of {found}.", advice="Give a date between 1970 and 9000.")
    return found
