"""Contents of one night: its windows, its runs, its plans, and what does not fit."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from innkeeper.errors import ErrorCode
from innkeeper.schedule.calendar import zone_database
from innkeeper.server.messages import window_of
from innkeeper.server.pages import words
from innkeeper.server.pages.door import Door, whole
from innkeeper.server.pages.words import Sign
from innkeeper.updates.order import UPDATE_RUN
from innkeeper.updates.window import Window
from innkeeper.wire.messages import (
    MachineList,
    PlannedMessage,
    TaskList,
    TaskMessage,
    TonightMessage,
    UpdateList,
    UpdateMessage,
    WindowList,
    WindowMessage,
    WindowRequest,
)
from innkeeper.wire.states import TaskResult, Verdict

_NOON = dt.time(12)
_ONE_DAY = dt.timedelta(days=1)
_PAGE = 1000


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Opening:
    """One opening of a window."""

    window: str
    zone: str
    start: dt.datetime
    end: dt.datetime


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Stay:
    """One update in the night: planned, running or ended."""

    machine: str
    identifier: str
    label: str
    host: str
    window: str
    start: dt.datetime
    end: dt.datetime
    deadline: dt.datetime | None
    sign: Sign
    #: The run, once there is one.
    task: TaskMessage | None
    reason: str
    #: What a roll back would come back to, in words; empty where it is not known, or all is over.
    roll_back: str = ""

    @property
    def is_planned(self) -> bool:
        """Whether the update has not started yet."""
        return self.task is None

    @property
    def is_running(self) -> bool:
        """Whether the update is running."""
        return self.task is not None and not self.task.is_complete

    @property
    def url(self) -> str:
        """Address of the update's log, or of its booking."""
        return f"/tasks/{self.task.id}" if self.task else f"/machines/{quote(self.machine, safe='')}#updates"

    @property
    def name(self) -> str:
        """The update's name."""
        return self.label or self.identifier


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Night:
    """One night, from noon to noon in its zone; a window that is open at noon belongs to the one before."""

    date: dt.date
    zone: str
    now: dt.datetime
    start: dt.datetime
    end: dt.datetime
    openings: tuple[Opening, ...]
    stays: tuple[Stay, ...]
    #: What will not be done in it, and why.
    left_out: tuple[PlannedMessage, ...]
    has_windows: bool

    @property
    def is_now(self) -> bool:
        """Whether this is the current night."""
        return self.start <= self.now < self.end

    @property
    def tally(self) -> Sequence[tuple[Sign, int]]:
        """Number of updates by outcome, those that need a person first."""
        counts = collections.Counter(words.RUNS if stay.is_running else stay.sign for stay in self.stays)
        if self.left_out:
            counts[words.FITS_NOT] = len(self.left_out)
        order = ("bad", "warn", "busy", "good", "idle", "sleep")
        return sorted(counts.items(), key=lambda item: (order.index(item[0].tone), item[0].word))

    @property
    def summary(self) -> str:
        """The night in one sentence."""
        response = [f"{count} {sign.of(count)}" for sign, count in self.tally if sign is not words.PLANNED]
        planned = sum(stay.is_planned for stay in self.stays)
        if planned:
            response.append(f"{planned} to come")
        if response:
            return f"{', '.join(response)}."
        return "Nothing is booked." if self.end > self.now else "Nothing happened."

    @property
    def has_deadlines(self) -> bool:
        """Whether any update has a deadline."""
        return any(stay.deadline for stay in self.stays)


async def night_of(door: Door, now: dt.datetime, date: dt.date | None) -> Night:
    """Return the night that begins on ``date``, or the current one."""
    windows = (await whole(door, "/windows", WindowList)).windows
    # Off the loop: a zone's file may have to be read.
    frame = await asyncio.to_thread(_frame, windows, now, date)
    start, end = frame.start, frame.end
    plan = (await door.get("/tonight", TonightMessage)).entries if end > now else ()
    stays = await _stays(door, plan, start, end)
    return Night(
        date=frame.date,
        zone=frame.zone,
        now=now,
        start=start,
        end=end,
        openings=frame.openings,
        stays=tuple(stays),
        left_out=tuple(entry for entry in plan if not entry.fits) if start <= now else (),
        has_windows=bool(windows),
    )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Frame:
    """A night's bounds and the openings of its windows."""

    date: dt.date
    zone: str
    start: dt.datetime
    end: dt.datetime
    openings: tuple[Opening, ...]


def _frame(windows: Sequence[WindowMessage], now: dt.datetime, date: dt.date | None) -> _Frame:
    zone = _zone(windows)
    made = [(message, _window(message)) for message in windows]
    today = now.astimezone(zone_database.find(zone)).date()
    begins = date or (today if _edge(today, zone, made) <= now else today - _ONE_DAY)
    start, end = _edge(begins, zone, made), _edge(begins + _ONE_DAY, zone, made)
    return _Frame(date=begins, zone=zone, start=start, end=end, openings=tuple(_openings(made, start, end)))


def _zone(windows: Sequence[WindowMessage]) -> str:
    """Return the zone that most windows are in."""
    zones = collections.Counter(window.zone for window in windows)
    return zones.most_common(1)[0][0] if zones else "UTC"


def _window(message: WindowMessage) -> Window:
    return window_of(
        WindowRequest.model_validate(message.model_dump(include=set(WindowRequest.model_fields)))
    )


def _edge(date: dt.date, zone: str, windows: Sequence[tuple[WindowMessage, Window]]) -> dt.datetime:
    """Return the border between two nights: noon, or the close of what is open then."""
    noon = dt.datetime.combine(date, _NOON, tzinfo=zone_database.find(zone)).astimezone(dt.UTC)
    open_then = (window.occurrence(noon) for _, window in windows)
    closes = [opening.end for opening in open_then if opening is not None and opening.start < noon]
    return min(max(closes, default=noon), noon + _ONE_DAY / 2)


def _openings(
    windows: Sequence[tuple[WindowMessage, Window]], start: dt.datetime, end: dt.datetime
) -> list[Opening]:
    found = []
    for message, window in windows:
        opening = window.occurrence(start) or window.next_after(start)
        while opening is not None and opening.start < end:
            found.append(
                Opening(window=message.name, zone=message.zone, start=opening.start, end=opening.end)
            )
            opening = window.next_after(opening.start)
    return sorted(found, key=lambda opening: (opening.start, opening.window))


async def _stays(
    door: Door, plan: Sequence[PlannedMessage], start: dt.datetime, end: dt.datetime
) -> list[Stay]:
    updates = (await whole(door, "/updates", UpdateList)).updates
    bookings = {(update.machine, update.identifier): update for update in updates}
    by_task = {update.task_id: update for update in updates if update.task_id is not None}
    machines = (await whole(door, "/machines", MachineList)).machines
    hosts = {machine.title or machine.name: machine.host for machine in machines}
    predicted = {entry.task_id: entry for entry in plan if entry.task_id is not None}
    runs = [
        _of_run(task, by_task.get(task.id), predicted.get(task.id), hosts)
        for task in await _runs(door, start)
        if task.created_at < end and (task.ended_at is None or task.ended_at > start)
    ]
    planned = [
        _of_plan(entry, bookings.get((entry.machine, entry.identifier)))
        for entry in plan
        if entry.task_id is None and entry.start is not None and start <= entry.start < end
    ]
    return sorted([*runs, *planned], key=lambda stay: (stay.start, stay.machine))


async def _runs(door: Door, since: dt.datetime) -> list[TaskMessage]:
    """Return the update runs that had not ended before a moment, newest first."""
    found: list[TaskMessage] = []
    before: int | None = None
    while True:
        page = await door.get("/tasks", TaskList, kind=UPDATE_RUN, before_id=before, limit=_PAGE)
        found += page.tasks
        before = page.next_before_id
        if before is None or found[-1].created_at < since - _ONE_DAY:
            return found


def _of_run(
    task: TaskMessage, update: UpdateMessage | None, entry: PlannedMessage | None, hosts: Mapping[str, str]
) -> Stay:
    machine = task.about or (task.lock or "").partition(":")[2]  # runs of former releases say no more
    end = task.ended_at or (entry.end if entry and entry.end else task.created_at)
    return Stay(
        machine=machine,
        identifier=update.identifier if update else "",
        label=update.label if update else task.description,
        host=hosts.get(machine, entry.host if entry else ""),
        window=entry.window if entry else "",
        start=task.created_at,
        end=max(end, task.created_at + dt.timedelta(seconds=1)),
        deadline=update.deadline if update else None,
        sign=_sign_of(task, update),
        task=task,
        reason=_reason(task, update),
    )


def _sign_of(task: TaskMessage, update: UpdateMessage | None) -> Sign:
    if update is not None and (update.verdict is not None or not task.is_complete):
        return words.update_sign(update)
    if task.result is TaskResult.SUCCESS:
        return words.VERDICTS[Verdict.KEPT]
    if task.error == ErrorCode.ERROR_NOT_READY:  # its booking waits for another run
        return words.VERDICTS[Verdict.NOT_STARTED]
    return words.task_sign(task)


def _reason(task: TaskMessage, update: UpdateMessage | None) -> str:
    return (update.reason if update else "") or task.error_description


def _of_plan(entry: PlannedMessage, update: UpdateMessage | None) -> Stay:
    assert entry.start is not None
    return Stay(
        machine=entry.machine,
        identifier=entry.identifier,
        label=entry.label,
        host=entry.host,
        window=entry.window,
        start=entry.start,
        end=entry.end or entry.start,
        deadline=update.deadline if update else None,
        sign=words.PLANNED,
        task=None,
        reason=entry.reason,
        roll_back=entry.roll_back.words if entry.roll_back else "",
    )
