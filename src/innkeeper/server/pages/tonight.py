"""Show the night: what will happen, what happens, and in the morning what has happened."""

from __future__ import annotations

import datetime as dt

from starlette.requests import Request
from starlette.responses import Response

from innkeeper.errors import InvalidArgument
from innkeeper.server.pages.door import Door
from innkeeper.server.pages.nights import night_of
from innkeeper.server.pages.rendering import answer, is_fragment, show
from innkeeper.server.pages.timeline import laid_out
from innkeeper.server.pages.visitor import visitor_of

#: Seconds between two looks at a night in which nothing is told: the line of this moment moves.
_LOOK_SECONDS = 30
#: Simulated time goes faster, and its nights are looked at more often.
_LOOK_SECONDS_FAKE = 3


async def tonight(request: Request) -> Response:
    """The night of this moment, or the one that ``night`` names by the date of its evening."""
    inn = (await visitor_of(request)).inn
    night = await night_of(Door(request), inn.now, _date(request.query_params.get("night")))
    one = dt.timedelta(days=1)
    values = {
        "night": night,
        "timeline": laid_out(night),
        "before": night.date - one,
        "after": night.date + one,
        "look_seconds": _LOOK_SECONDS_FAKE if inn.fake else _LOOK_SECONDS,
    }
    if is_fragment(request):
        return await answer(request, "tonight_night.html", values)
    return await show(request, "tonight.html", values, here="Tonight", live="update.*,task.*")


def _date(text: str | None) -> dt.date | None:
    if not text:
        return None
    try:
        found = dt.date.fromisoformat(text)
    except ValueError as error:
        raise InvalidArgument(
            f"“{text[:40]}” is no date.", advice="Name a night by its evening, as in 2026-11-24."
        ) from error
    if not dt.date(1970, 1, 2) <= found <= dt.date(9000, 1, 1):
        raise InvalidArgument(f"There is no night of {found}.", advice="Name one of this age.")
    return found
