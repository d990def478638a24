"""Layout of a night as a timeline: hosts, their slots, and a bar for each update. Pure.

Places are percent of the axis, for SVG attributes: the pages allow no inline style.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
from collections.abc import Iterable, Iterator, Sequence

from innkeeper.schedule.calendar import zone_database
from innkeeper.server.pages.moments import clock
from innkeeper.server.pages.nights import Night, Opening, Stay

#: Room beside the first and the last thing on the axis, as a share of it.
_MARGIN = 0.02
#: The shortest axis: below it a minute would look like an hour.
_LEAST_SPAN = dt.timedelta(minutes=30)
#: How much longer the axis may become, at each end, to show where a window opens or closes.
_WINDOW_SHARE = 0.35
#: An empty night is shown from eight to eight.
_EMPTY = (dt.timedelta(hours=8), dt.timedelta(hours=20))
_STEPS = tuple(dt.timedelta(minutes=m) for m in (5, 10, 15, 30, 60, 120, 180, 240, 360))
#: So many marks at most.
_MARKS = 13
#: The room that a name needs beside or in its bar, as percent of the axis, for each letter.
_LETTER = 0.85
_NAME_MARGIN = 2.6
#: A bar is never thinner.
_THINNEST = 0.35


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """One hour on the axis."""

    x: str
    at: dt.datetime
    text: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Band:
    """One opening of a window, as a background band."""

    x: str
    width: str
    opening: Opening


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """One update in its slot."""

    stay: Stay
    x: str
    width: str
    #: How much of it is over.
    done: str
    #: Where its name begins, and the room for it; empty where there is none.
    name_x: str
    name_width: str
    #: Where its deadline is; empty where it has none on the axis.
    due: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Lane:
    """A host and its slots."""

    host: str
    slots: tuple[tuple[Bar, ...], ...]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Timeline:
    """The layout of one night."""

    start: dt.datetime
    end: dt.datetime
    marks: tuple[Mark, ...]
    bands: tuple[Band, ...]
    lanes: tuple[Lane, ...]
    #: Where this moment is; empty where it is not on the axis.
    now: str


def laid_out(night: Night) -> Timeline:
    """Lay the night out along an axis as long as its contents."""
    axis = _Axis(*_extent(night))
    return Timeline(
        start=axis.start,
        end=axis.end,
        marks=tuple(_marks(axis, night.zone)),
        bands=tuple(
            Band(x=_percent(axis.x(o.start)), width=_percent(axis.x(o.end) - axis.x(o.start)), opening=o)
            for o in night.openings
            if o.end > axis.start and o.start < axis.end
        ),
        lanes=tuple(_lanes(axis, night)),
        now=_percent(axis.x(night.now)) if axis.start <= night.now <= axis.end else "",
    )


@dataclasses.dataclass(frozen=True, slots=True)
class _Axis:
    start: dt.datetime
    end: dt.datetime

    def x(self, at: dt.datetime) -> float:
        """Return a moment's position in percent, kept on the axis."""
        share = (at - self.start) / (self.end - self.start)
        return 100 * min(1.0, max(0.0, share))


def _extent(night: Night) -> tuple[dt.datetime, dt.datetime]:
    """Return the axis' bounds: all updates, with as much of the windows as leaves them readable."""
    spans = [(stay.start, stay.end) for stay in night.stays] or [(o.start, o.end) for o in night.openings]
    if not spans:
        return night.start + _EMPTY[0], night.start + _EMPTY[1]
    first, last = min(start for start, _ in spans), max(end for _, end in spans)
    room = max(last - first, _LEAST_SPAN) * _WINDOW_SHARE
    edges = [edge for o in night.openings for edge in (o.start, o.end) if first - room <= edge <= last + room]
    first, last = max(night.start, min([first, *edges])), min(night.end, max([last, *edges]))
    missing = max(dt.timedelta(), _LEAST_SPAN - (last - first)) / 2
    margin = missing + (last - first) * _MARGIN
    return first - margin, last + margin


def _marks(axis: _Axis, zone: str) -> Iterator[Mark]:
    span = axis.end - axis.start
    step = next((step for step in _STEPS if span / step <= _MARKS), _STEPS[-1])
    midnight = axis.start.astimezone(zone_database.find(zone)).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    at = midnight.astimezone(dt.UTC)
    while at < axis.end:
        if at > axis.start:
            yield Mark(x=_percent(axis.x(at)), at=at, text=clock(at, zone))
        at += step


def _lanes(axis: _Axis, night: Night) -> Iterator[Lane]:
    hosts: dict[str, list[Stay]] = collections.defaultdict(list)
    for stay in night.stays:
        hosts[stay.host].append(stay)
    for host in sorted(hosts):
        slots = [_bars(axis, night, slot) for slot in _slots(hosts[host])]
        yield Lane(host=host, slots=tuple(slots))


def _slots(stays: Iterable[Stay]) -> list[list[Stay]]:
    """Distribute a host's updates over as few slots as possible, in the order of their starts."""
    slots: list[list[Stay]] = []
    for stay in sorted(stays, key=lambda each: (each.start, each.end)):
        free = next((slot for slot in slots if slot[-1].end <= stay.start), None)
        if free is None:
            slots.append([stay])
        else:
            free.append(stay)
    return slots


def _bars(axis: _Axis, night: Night, slot: Sequence[Stay]) -> tuple[Bar, ...]:
    following = [axis.x(stay.start) for stay in slot[1:]] + [100.0]
    return tuple(_bar(axis, night, stay, room) for stay, room in zip(slot, following, strict=True))


def _bar(axis: _Axis, night: Night, stay: Stay, next_x: float) -> Bar:
    x, end = axis.x(stay.start), axis.x(stay.end)
    width = max(end - x, _THINNEST)
    reached = axis.x(min(night.now, stay.end)) if stay.is_running else end
    needed = len(stay.machine) * _LETTER + _NAME_MARGIN
    inside, beside = width >= needed, next_x - x - width >= needed
    name_x, name_width = (x, width) if inside else (x + width, next_x - x - width)
    shown = inside or beside
    due = stay.deadline if stay.deadline and axis.start < stay.deadline < axis.end else None
    return Bar(
        stay=stay,
        x=_percent(x),
        width=_percent(width),
        done=_percent(0 if stay.is_planned else max(reached - x, _THINNEST)),
        name_x=_percent(name_x) if shown else "",
        name_width=_percent(name_width) if shown else "",
        due=_percent(axis.x(due)) if due else "",
    )


def _percent(value: float) -> str:
    return f"{value:.3f}%"
