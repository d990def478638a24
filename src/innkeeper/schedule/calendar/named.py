"""Named calendars: public holidays, freezes, the days of a calendar file."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator

from innkeeper.schedule.calendar.spans import Spans
from innkeeper.schedule.calendar.zone import DAY, EPOCH_DAY, Zone


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NamedCalendar:
    """Days and stretches of time under one name."""

    #: Whole days, from the first up to but without the second, in the zone of who asks.
    days: tuple[tuple[dt.date, dt.date], ...] = ()
    #: Stretches of time; a naive moment is on the wall of who asks.
    times: tuple[tuple[dt.datetime, dt.datetime], ...] = ()

    def spans(self, zone: Zone) -> Spans:
        """Return the calendar's stretches of time, seen from a zone."""
        return Spans((*self._whole_days(zone), *self._stretches(zone)))

    def _whole_days(self, zone: Zone) -> Iterator[tuple[int, int]]:
        for first, after in self.days:
            yield zone.boundary(_midnight(first)), zone.boundary(_midnight(after))

    def _stretches(self, zone: Zone) -> Iterator[tuple[int, int]]:
        for begin, end in self.times:
            yield _instant(begin, zone), _instant(end, zone)


def _midnight(date: dt.date) -> int:
    return (date.toordinal() - EPOCH_DAY) * DAY


def _instant(moment: dt.datetime, zone: Zone) -> int:
    if moment.tzinfo is not None:
        return int(moment.timestamp() // 1)
    return zone.boundary(_midnight(moment.date()) + moment.hour * 3600 + moment.minute * 60 + moment.second)
