"""Manage the windows in which machines may be maintained."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import typer
from rich.text import Text

from innkeeper.cli.many import AllowEmpty, DryRun, Select, print_lines
from innkeeper.cli.terminal import Json, Session, session_of, table
from innkeeper.cli.times import parse_clock, parse_date, parse_duration, parse_zone, say_duration
from innkeeper.errors import InvalidArgument
from innkeeper.wire.messages import WindowList, WindowMessage, WindowRequest
from innkeeper.wire.states import Weekday

app = typer.Typer(
    name="window", help="Manage the windows in which machines may be maintained.", no_args_is_help=True
)

#: So many names and patterns of a window are listed.
_SHOWN = 8

WindowName = Annotated[str, typer.Argument(metavar="WINDOW", help="The window's name.")]

_SETS = {
    "daily": tuple(Weekday),
    "weekdays": tuple(Weekday)[:5],
    "weekend": tuple(Weekday)[5:],
}


@app.command()
def add(
    context: typer.Context,
    name: WindowName,
    length: Annotated[str, typer.Option("--for", metavar="LENGTH", help="How long it stays open: 4h, 90m.")],
    machines: Annotated[
        str, typer.Option(help="Names or patterns, separated by commas: 'web-*,db-1'.")
    ] = "all",
    days: Annotated[str | None, typer.Option(help="Weekly: mon,tue …, or daily, weekdays, weekend.")] = None,
    date: Annotated[
        list[str] | None, typer.Option(help="On this day: 2026-11-30. May be given again.")
    ] = None,
    at: Annotated[str | None, typer.Option(help="The wall time at which it opens: 22:00.")] = None,
    zone: Annotated[str | None, typer.Option(help="Its time zone; yours if left out.")] = None,
    blackout: Annotated[list[str] | None, typer.Option(help="A day on which it stays closed.")] = None,
    now: Annotated[bool, typer.Option("--now", help="Open it now, once: for trying things out.")] = False,
    json: Json = False,
) -> None:
    """Add a window, or replace the one of this name."""
    session = session_of(context)
    zone = zone or _zone_name(session)
    local_now = session.now.astimezone(parse_zone(zone))
    opens_at, dates = _opening(local_now, at=at, dates=date or [], now=now, weekly=days is not None)
    request = WindowRequest.model_construct(
        name=name,
        machines=tuple(part.strip() for part in machines.split(",") if part.strip()),
        zone=zone,
        opens_at=opens_at,
        duration_seconds=round(parse_duration(length).total_seconds()),
        weekdays=_weekdays(days),
        dates=dates,
        blackouts=tuple(parse_date(day, local_now.date()) for day in blackout or []),
    )
    window = session.inn.windows.add(request)
    if session.json:
        session.answer(window)
    else:
        _print(session, (window,))
    if window.unknown:
        names = _shortened(window.unknown, " or ")
        session.note(f"No machine is known by the name {names}. The window is for one that gets it.")


@app.command("list")
def list_windows(context: typer.Context, json: Json = False) -> None:
    """List the windows, and when they are open."""
    session = session_of(context)
    windows = tuple(session.inn.windows)
    if session.json:
        session.answer(WindowList(windows=windows))
    elif not windows:
        session.note("There is no window, so nothing is maintained. Add one with: innkeeper window add")
    else:
        _print(session, windows)


@app.command()
def remove(context: typer.Context, name: WindowName, json: Json = False) -> None:
    """Remove a window; what has started in it goes on to its end."""
    session = session_of(context)
    session.inn.windows.remove(name)
    if session.json:
        session.answer(WindowList(windows=tuple(session.inn.windows)))
    else:
        session.out.print(Text(f"The window {name} is removed."))


@app.command()
def include(
    context: typer.Context,
    name: WindowName,
    select: Select,
    dry_run: DryRun = False,
    allow_empty: AllowEmpty = False,
    json: Json = False,
) -> None:
    """Put many machines into a window: those that the selector means now."""
    session = session_of(context)
    selection = session.inn.machines.select(select)
    print_lines(session, selection.put_into_window(name, dry_run=dry_run, allow_empty=allow_empty))


@app.command()
def exclude(
    context: typer.Context,
    name: WindowName,
    select: Select,
    dry_run: DryRun = False,
    allow_empty: AllowEmpty = False,
    json: Json = False,
) -> None:
    """Take many machines out of a window; one that a pattern of the window means is refused."""
    session = session_of(context)
    selection = session.inn.machines.select(select)
    print_lines(session, selection.take_out_of_window(name, dry_run=dry_run, allow_empty=allow_empty))


def _opening(
    local_now: dt.datetime, *, at: str | None, dates: list[str], now: bool, weekly: bool
) -> tuple[dt.time, tuple[dt.date, ...]]:
    if now:
        if at or dates or weekly:
            raise InvalidArgument(
                "--now opens the window once, now: it goes with neither --at, --date nor --days.",
                advice="For example: innkeeper window add try --now --for 30m",
            )
        return local_now.time().replace(microsecond=0), (local_now.date(),)
    if at is None:
        raise InvalidArgument(
            "A window needs --at, the wall time at which it opens.", advice="Add --at 22:00."
        )
    return parse_clock(at), tuple(parse_date(day, local_now.date()) for day in dates)


def _weekdays(text: str | None) -> tuple[Weekday, ...]:
    found: list[Weekday] = []
    for word in (text or "").lower().replace(" ", "").split(","):
        if word in _SETS:
            found += _SETS[word]
        elif word:
            found.append(_weekday(word))
    return tuple(day for day in Weekday if day in found)


def _weekday(word: str) -> Weekday:
    for day in Weekday:
        if word in (day.value, day.name.lower()):
            return day
    raise InvalidArgument(
        f"“{word}” is not a day of the week.",
        advice="Write mon,tue,wed,thu,fri,sat,sun, or daily, weekdays, weekend.",
    )


def _zone_name(session: Session) -> str:
    name: str = getattr(session.tz, "key", None) or "UTC"
    return "UTC" if name in ("Etc/UTC", "Etc/UCT", "Universal", "Zulu") else name


def _print(session: Session, windows: tuple[WindowMessage, ...]) -> None:
    made = table("WINDOW", "MACHINES", "OPENS", "FOR", "NEXT")
    for window in windows:
        made.add_row(
            Text(window.name),
            Text(_machines(window)),
            Text(_opens(window)),
            say_duration(window.duration_seconds),
            _next(session, window),
        )
    session.out.print(made)


def _machines(window: WindowMessage) -> str:
    """The first of them, and how many there are besides."""
    return _shortened(window.machines)


def _shortened(names: tuple[str, ...], joint: str = ", ") -> str:
    more = len(names) - _SHOWN
    shown = joint.join(names[:_SHOWN])
    return f"{shown} and {more:,} more" if more > 0 else shown


def _opens(window: WindowMessage) -> str:
    days = next((word for word, days in _SETS.items() if days == window.weekdays), ",".join(window.weekdays))
    when = [part for part in (days, *map(str, window.dates)) if part]
    shut = f" not {', '.join(map(str, window.blackouts))}" if window.blackouts else ""
    return f"{', '.join(when)} {window.opens_at:%H:%M} {window.zone}{shut}"


def _next(session: Session, window: WindowMessage) -> Text:
    if window.open_now is not None:
        return Text(f"open to {session.moment(window.open_now.end)}", style="green")
    if window.next is None:
        return Text("never again", style="dim")
    return Text(session.moment_and_distance(window.next.start))
