"""Show when tasks will run: registered ones, or those in files."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import json as json_text
import sys
from pathlib import Path
from typing import Annotated, Final
from zoneinfo import ZoneInfo

import typer
from rich.text import Text

from innkeeper.cli.schedule.files import read
from innkeeper.cli.terminal import Json, Session, session_of, table
from innkeeper.cli.times import parse_moment, say_distance
from innkeeper.errors import InvalidArgument
from innkeeper.schedule.calendar.files import read_calendar, write_calendar
from innkeeper.schedule.calendar.named import NamedCalendar
from innkeeper.schedule.calendar.public_holidays import public_holidays
from innkeeper.schedule.model.definition import TaskDefinition

_HOLIDAYS: Final = "holidays:"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Runs:
    """When one task runs."""

    name: str
    times: tuple[dt.datetime, ...]
    #: Whether there are more than these.
    more: bool


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("next")(next_runs)


def next_runs(
    context: typer.Context,
    which: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TASK|FILE…]",
            help=r"Paths of tasks ('\Nightly\Compact'), or files; every enabled task if left out.",
        ),
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=3660, help="How many days to look ahead.")] = 30,
    start: Annotated[str, typer.Option("--from", help="From this day or time on; now if left out.")] = "",
    calendar: Annotated[
        list[str] | None,
        typer.Option(
            help="For files: a named calendar, NAME=FILE.ics or NAME=holidays:FR. May be given again."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many runs of each task.")] = 1000,
    hidden: Annotated[bool, typer.Option("--hidden", help="Hidden tasks too.")] = False,
    ical: Annotated[bool, typer.Option("--ical", help="Print a calendar file (iCalendar).")] = False,
    json: Json = False,
) -> None:
    r"""Show when tasks will run, day by day. Files need no service.

    Examples:

        innkeeper schedule next --days 7

        innkeeper schedule next '\Nightly\Compact' --ical > compact.ics

        innkeeper schedule next night.xml --calendar freeze=freeze.ics --from 2026-12-01
    """
    session = session_of(context)
    files = [Path(each) for each in which or [] if not each.startswith("\\")]
    tasks = [each for each in which or [] if each.startswith("\\")]
    if files and tasks:
        raise InvalidArgument(
            "Files and registered tasks cannot be shown together.", advice="Name the ones or others."
        )
    now = dt.datetime.now(dt.UTC) if files else session.now
    begin = parse_moment(start, now, session.tz) if start and ":" in start else _day(start, now, session.tz)
    end = begin + dt.timedelta(days=days)
    if files:
        calendars = dict(_calendar(text, now.date()) for text in calendar or [])
        runs = [_of_file(path, begin, end, limit, session.tz, calendars) for path in files]
    else:
        runs = _of_inn(session, tasks, begin, end, limit, hidden=hidden)
    _show(session, runs, now, ical=ical)


def _day(text: str, now: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    return parse_moment(f"{text} 00:00", now, zone) if text else now


def _of_file(
    path: Path,
    begin: dt.datetime,
    end: dt.datetime,
    limit: int,
    zone: dt.tzinfo,
    calendars: dict[str, NamedCalendar],
) -> Runs:
    definition = TaskDefinition.from_xml(read(path))
    times = definition.run_times(begin, end, limit + 1, zone=zone, calendars=calendars)
    return Runs(name=path.stem, times=tuple(times[:limit]), more=len(times) > limit)


def _of_inn(
    session: Session, tasks: list[str], begin: dt.datetime, end: dt.datetime, limit: int, *, hidden: bool
) -> list[Runs]:
    found = session.inn.schedule.calendar(tasks, begin, end, count=limit, hidden=hidden)
    return [
        Runs(
            name=each.path,
            times=tuple(time.astimezone(_zone(each.zone, time)) for time in each.times),
            more=each.more,
        )
        for each in found
    ]


def _zone(name: str, time: dt.datetime) -> dt.tzinfo | None:
    """The task's own zone; a boundary with an offset of its own keeps it."""
    try:
        zone = ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return time.tzinfo
    return zone if time.astimezone(zone).utcoffset() == time.utcoffset() else time.tzinfo


def _show(session: Session, runs: list[Runs], now: dt.datetime, *, ical: bool) -> None:
    if ical:
        sys.stdout.buffer.write(write_calendar([(each.name, each.times) for each in runs], now=now))
    elif session.json:
        message = [{"task": each.name, "runs": [run.isoformat() for run in each.times]} for each in runs]
        session.out.out(json_text.dumps(message, indent=2, ensure_ascii=False))
    else:
        _print(session, runs, now)


def _print(session: Session, runs: list[Runs], now: dt.datetime) -> None:
    """A heading a day, in the reader's zone; the task's own wall time beside it where that is another."""
    merged = sorted(
        ((time, each.name) for each in runs for time in each.times), key=lambda each: (each[0], each[1])
    )
    for day, found in itertools.groupby(merged, key=lambda each: each[0].astimezone(session.tz).date()):
        session.out.print(Text.assemble((f"{day:%A %d %B %Y}", "bold"), _apart(session, day, now)))
        made = table("", "", "")
        made.show_header = False
        for time, name in found:
            here = time.astimezone(session.tz)
            theirs = "" if time.utcoffset() == here.utcoffset() else f"{time:%H:%M %Z}"
            made.add_row(f"  {here:%H:%M:%S}".removesuffix(":00"), Text(name), Text(theirs, style="dim"))
        session.out.print(made)
    if not merged:
        session.note("No run falls into this time.")
    for each in runs:
        if each.more:
            session.note(f"{each.name}: there are more than these. Give a higher --limit, or fewer --days.")


def _apart(session: Session, day: dt.date, now: dt.datetime) -> tuple[str, str]:
    today = now.astimezone(session.tz).date()
    if day == today:
        return "  today", "dim"
    midnight = dt.datetime.combine(day, dt.time())
    return f"  {say_distance(midnight, dt.datetime.combine(today, dt.time()))}", "dim"


def _calendar(text: str, today: dt.date) -> tuple[str, NamedCalendar]:
    name, is_given, where = text.partition("=")
    if not is_given or not name:
        raise InvalidArgument(f"“{text}” is not a calendar.", advice="Write it as freeze=freeze.ics.")
    if where.startswith(_HOLIDAYS):
        return name, public_holidays(where.removeprefix(_HOLIDAYS), range(today.year - 1, today.year + 12))
    return name, read_calendar(read(Path(where)), today=today)
