"""Wall-clock time to instants and back, with one policy for gaps and folds.

A wall time that a gap swallows happens at the first instant that exists after it; one that a fold
repeats happens once, the first time; one on a civil date that does not exist at all does not happen.
"""

from __future__ import annotations

import datetime as dt
import functools
from bisect import bisect_right
from zoneinfo import ZoneInfo

from innkeeper.schedule.calendar import zone_database

#: 1970-01-01 as a day number.
EPOCH_DAY = dt.date(1970, 1, 1).toordinal()
DAY = 86_400

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SAMPLE = DAY // 2

#: From, to (instants), offset, and from, to (wall) where every wall time exists once.
_Span = tuple[int, int, int, int, int]
#: When, the offset before, the offset after.
_Transition = tuple[int, int, int]


class Zone:
    """A time zone, made fast: seconds since 1970 in, seconds since 1970 out.

    A wall time is the seconds that a clock on the wall counts since its own 1970.
    """

    def __init__(self, tzinfo: dt.tzinfo) -> None:
        self.tzinfo = tzinfo
        self._years: dict[int, tuple[_Transition, ...]] = {}
        # Where the last look-up from either side fell: most fall there again, and the two sides are apart
        # when a run lies beyond a change of the clocks. Exchanged whole, so that threads never see a mix.
        self._span: _Span = (0, 0, 0, 0, 0)
        self._wall_span: _Span = (0, 0, 0, 0, 0)

    def offset(self, instant: int) -> int:
        """How far the wall is ahead of UTC at an instant."""
        begin, end, offset, _, _ = self._span
        if begin <= instant < end:
            return offset
        self._span = span = self._span_at(instant)
        return span[2]

    def instant(self, wall: int) -> int | None:
        """When the wall shows this, or ``None`` where its civil date does not exist."""
        _, _, offset, begin, end = self._wall_span
        if begin <= wall < end:
            return wall - offset
        return self._instant(wall, skip=True)

    def boundary(self, wall: int) -> int:
        """When the wall shows this or would have; on a date that does not exist, when that date is over."""
        found = self._instant(wall, skip=False)
        assert found is not None  # only skipping gives none
        return found

    def _instant(self, wall: int, *, skip: bool) -> int | None:
        for when, before, after in self._around(wall):
            if when + min(before, after) <= wall < when + max(before, after):
                return _in_gap(wall, when, before, after, skip) if after > before else wall - before
        # No change is near, so any offset leads into the right span.
        self._wall_span = span = self._span_at(wall - self._span_at(wall)[2])
        return wall - span[2]

    def _around(self, wall: int) -> tuple[_Transition, ...]:
        year = _year(wall)
        return (*self._transitions(year - 1), *self._transitions(year), *self._transitions(year + 1))

    def _span_at(self, instant: int) -> _Span:
        year = _year(instant)
        transitions = self._around(instant)
        begin, end = _new_year(year - 1), _new_year(year + 2)
        at = bisect_right(transitions, instant, key=lambda transition: transition[0])
        offset = transitions[at - 1][2] if at else self._probe(instant)
        wall_begin, wall_end = begin + offset, end + offset
        if at:
            begin, before, _ = transitions[at - 1]
            wall_begin = begin + max(before, offset)
        if at < len(transitions):
            end, _, after = transitions[at]
            wall_end = end + min(offset, after)
        return begin, end, offset, wall_begin, wall_end

    def _transitions(self, year: int) -> tuple[_Transition, ...]:
        """The changes of the offset within a year of UTC, found by looking twice a day."""
        # The first and the last year lack a neighbour to look at; no schedule runs in them.
        if not dt.MINYEAR < year < dt.MAXYEAR:
            return ()
        known = self._years.get(year)
        if known is None:
            known = self._years[year] = tuple(self._search(_new_year(year), _new_year(year + 1)))
        return known

    def _search(self, begin: int, end: int) -> list[_Transition]:
        found = []
        before = self._probe(begin - 1)
        for instant in range(begin - 1 + _SAMPLE, end + _SAMPLE, _SAMPLE):
            upto = min(instant, end - 1)
            after = self._probe(upto)
            if after != before:
                found.append((self._change(upto - _SAMPLE, upto, before), before, after))
                before = after
        return found

    def _change(self, low: int, high: int, before: int) -> int:
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._probe(middle) == before else (low, middle)
        return high

    def _probe(self, instant: int) -> int:
        if not _FIRST <= instant <= _LAST:
            instant = min(max(instant, _FIRST), _LAST)
        moment = (_EPOCH + dt.timedelta(seconds=instant)).astimezone(self.tzinfo)
        offset = moment.utcoffset()
        return 0 if offset is None else round(offset.total_seconds())


_LAST_DAY = dt.date.max.toordinal()
# A day inside the years that datetime can hold, so that no zone leads out of them.
_FIRST = (dt.date.min.toordinal() + 2 - EPOCH_DAY) * DAY
_LAST = (dt.date.max.toordinal() - 2 - EPOCH_DAY) * DAY


def _in_gap(wall: int, when: int, before: int, after: int, skip: bool) -> int | None:
    midnight = wall - wall % DAY
    absent = when + before <= midnight and midnight + DAY <= when + after
    return None if skip and absent else when


def _year(instant: int) -> int:
    return dt.date.fromordinal(min(max(instant // DAY + EPOCH_DAY, 1), _LAST_DAY)).year


def _new_year(year: int) -> int:
    if year < dt.MINYEAR:
        return -(1 << 62)
    if year > dt.MAXYEAR:
        return 1 << 62
    return (dt.date(year, 1, 1).toordinal() - EPOCH_DAY) * DAY


@functools.cache
def named(key: str) -> Zone:
    """Return the zone of this IANA name, one object for all users."""
    return Zone(zone_database.find(key))


@functools.lru_cache(maxsize=256)
def fixed(offset: dt.timedelta) -> Zone:
    """Return the zone with this fixed offset from UTC."""
    return Zone(dt.UTC if not offset else dt.timezone(offset))


def of(tzinfo: dt.tzinfo) -> Zone:
    """Return the zone of any ``tzinfo``."""
    if isinstance(tzinfo, ZoneInfo) and tzinfo.key is not None:
        return named(tzinfo.key)
    if isinstance(tzinfo, dt.timezone):
        return fixed(tzinfo.utcoffset(None))
    return Zone(tzinfo)
