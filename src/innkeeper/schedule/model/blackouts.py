"""Times when a task must not start, by the calendars that its definition names."""

from __future__ import annotations

from collections.abc import Mapping

from innkeeper.errors import ErrorCode, ScheduleError
from innkeeper.schedule.calendar.named import NamedCalendar
from innkeeper.schedule.calendar.spans import Spans
from innkeeper.schedule.calendar.zone import Zone
from innkeeper.schedule.model.extension import Extension


def blackout(extension: Extension, calendars: Mapping[str, NamedCalendar], zone: Zone) -> Spans | None:
    """Return when a task must not start: in its excluded calendars, and outside its included ones."""
    spans = [span for name in extension.exclude for span in _find(name, calendars).spans(zone)]
    if extension.include:
        wanted = Spans(span for name in extension.include for span in _find(name, calendars).spans(zone))
        spans.extend(wanted.gaps())
    return Spans(spans) if spans else None


def _find(name: str, calendars: Mapping[str, NamedCalendar]) -> NamedCalendar:
    if name not in calendars:
        raise ScheduleError(
            f"There is no calendar {name!r}.",
            code=ErrorCode.SCHED_E_INVALIDVALUE,
            advice="Add the calendar, or take its name out of the schedule.",
            node="calendar",
            value=name,
        )
    return calendars[name]
