"""Public holidays, where the extra ``innkeeper[holidays]`` is installed."""

from __future__ import annotations

import datetime as dt

from innkeeper.errors import ErrorCode, NotSupported, ScheduleError
from innkeeper.schedule.calendar.named import NamedCalendar


def public_holidays(region: str, years: range) -> NamedCalendar:
    """The public holidays of a country (``FR``) or a part of one (``DE-BY``).

    Raises ``NotSupported`` where the extra is not installed, ``ScheduleError`` where it knows no such region.
    """
    try:
        import holidays
    except ImportError as missing:
        raise NotSupported(
            "Public holidays are not known here.",
            advice="Install the extra: pip install 'innkeeper[holidays]'.",
        ) from missing
    country, _, part = region.partition("-")
    try:
        days = holidays.country_holidays(country.upper(), subdiv=part.upper() or None, years=years)
    except NotImplementedError as unknown:
        raise ScheduleError(
            f"There are no holidays of {region!r}.",
            code=ErrorCode.SCHED_E_INVALIDVALUE,
            advice="Name a country (FR), or a part of one (DE-BY).",
            node="calendar",
            value=region,
        ) from unknown
    one = dt.timedelta(days=1)
    return NamedCalendar(days=tuple((day, day + one) for day in sorted(days)))
