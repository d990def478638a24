"""Work on scheduled tasks; what needs no service works on files."""

from __future__ import annotations

import datetime as dt
import json as json_text
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from innkeeper.cli.exit_codes import ExitCode
from innkeeper.cli.terminal import Json, Session, session_of, table
from innkeeper.errors import ErrorCode, InvalidArgument, ScheduleError
from innkeeper.schedule.calendar.files import read_calendar, write_calendar
from innkeeper.schedule.calendar.named import NamedCalendar
from innkeeper.schedule.calendar.public_holidays import public_holidays
from innkeeper.schedule.definition import TaskDefinition, deviations
from innkeeper.schedule.xml.deviation import Deviation
from innkeeper.schedule.xml.encoding import LONGEST_CHARACTERS
from innkeeper.wire.schedule import RunList, ScheduledTaskList

app = typer.Typer(name="schedule", help="Work on scheduled tasks (Task Scheduler 2.0).", no_args_is_help=True)

#: One byte more than any definition has: reading it is enough to know that a file is too large.
_ENOUGH_BYTES = 4 * LONGEST_CHARACTERS + 1
_HOLIDAYS = "holidays:"

Files = Annotated[
    list[Path], typer.Argument(metavar="FILE…", help="Task definitions, as Windows exports them.")
]
TaskPath = Annotated[str, typer.Argument(metavar="TASK", help=r"The task's path: \Nightly\Compact.")]
Strict = Annotated[bool, typer.Option("--strict", help="Fail on what a lenient reader mends, too.")]


@app.command()
def validate(
    context: typer.Context,
    files: Files,
    strict: Strict = False,
    json: Json = False,
) -> None:
    """Print each place where a definition is not what the schema says. Needs no service."""
    session = session_of(context)
    found = {path: deviations(_read(path)) for path in files}
    if session.json:
        session.out.out(json_text.dumps(_as_json(found), indent=2, ensure_ascii=False))
    else:
        for path, places in found.items():
            _print_places(session, path, places)
    if any(strict or not place.forgiven for places in found.values() for place in places):
        raise typer.Exit(ExitCode.FAILED)


@app.command("next")
def next_runs(
    context: typer.Context,
    files: Files,
    days: Annotated[int, typer.Option(min=1, max=3660, help="How far to look.")] = 30,
    start: Annotated[str, typer.Option("--from", help="From this day or time on; now if left out.")] = "",
    calendar: Annotated[
        list[str] | None,
        typer.Option(help="A named calendar: NAME=FILE.ics, or NAME=holidays:FR. May be given again."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many runs of each task at most.")] = 1000,
    ical: Annotated[bool, typer.Option("--ical", help="Print a calendar file (iCalendar).")] = False,
    json: Json = False,
) -> None:
    """Show when tasks will run. Needs no service."""
    session = session_of(context)
    now = dt.datetime.now(dt.UTC)
    begin = _moment(start, session.tz) if start else now
    calendars = dict(_calendar(text, now.date()) for text in calendar or [])
    end = begin + dt.timedelta(days=days)
    runs = [
        (
            path.stem,
            TaskDefinition.from_xml(_read(path)).run_times(
                begin, end, limit, zone=session.tz, calendars=calendars
            ),
        )
        for path in files
    ]
    if ical:
        sys.stdout.buffer.write(write_calendar(runs, now=now))
        return
    if session.json:
        said = [{"task": name, "runs": [run.isoformat() for run in times]} for name, times in runs]
        session.out.out(json_text.dumps(said, indent=2, ensure_ascii=False))
        return
    _print_runs(session, runs)


# With the service


@app.command("list")
def list_tasks(
    context: typer.Context,
    folder: Annotated[
        str, typer.Argument(metavar="[FOLDER]", help="The folder; the root if left out.")
    ] = "\\",
    hidden: Annotated[bool, typer.Option("--hidden", help="Hidden tasks too.")] = False,
    json: Json = False,
) -> None:
    """List the tasks and folders in a folder."""
    session = session_of(context)
    found = session.inn.schedule.folder(folder)
    tasks = [task.read() for task in found.list_tasks(hidden=hidden)]
    if session.json:
        session.answer(ScheduledTaskList(tasks=tuple(tasks)))
        return
    made = table("TASK", "STATE", "NEXT RUN", "LAST RUN", "RESULT", "MISSED")
    for path in found.folders:
        made.add_row(Text(f"{path}\\"), "", "", "", "", "")
    for said in tasks:
        result = f"{said.last_task_result:#x}" if said.last_task_result > 255 else str(said.last_task_result)
        following = session.moment(said.next_run_time)
        made.add_row(
            Text(said.path), said.state.lower(), following, session.moment(said.last_run_time), result,
            str(said.number_of_missed_runs or ""),
        )  # fmt: skip
    session.out.print(made)


@app.command("import")
def import_task(
    context: typer.Context,
    path: TaskPath,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The definition, as Windows exports it.")],
    json: Json = False,
) -> None:
    """Register a task from a file, or replace the one of this path."""
    session = session_of(context)
    definition = TaskDefinition.from_xml(_read(file))
    made = session.inn.schedule.folder().register(path, definition)
    if session.json:
        session.answer(made.read())
    else:
        session.out.print(Text(f"{made.path} is registered. Next run: {session.moment(made.next_run_time)}"))


@app.command()
def export(context: typer.Context, path: TaskPath) -> None:
    """Print a task's definition, as Windows reads it (UTF-16)."""
    xml = session_of(context).inn.schedule.task(path).xml
    sys.stdout.buffer.write(TaskDefinition.from_xml(xml).to_xml())


@app.command()
def show(context: typer.Context, path: TaskPath, json: Json = False) -> None:
    """Show a task's definition."""
    session = session_of(context)
    said = session.inn.schedule.task(path).read()
    if session.json:
        session.answer(said)
    else:
        session.out.out(said.xml)


@app.command()
def run(
    context: typer.Context,
    path: TaskPath,
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[ARGUMENT…]", help="For $(Arg0) and on.")
    ] = None,
    json: Json = False,
) -> None:
    """Start a task now."""
    session = session_of(context)
    made = session.inn.schedule.task(path).run(*(arguments or [])).said
    if session.json:
        session.answer(made)
    else:
        task = "" if made.task_id is None else f" as task {made.task_id}"
        session.out.print(Text(f"{made.state}{task}" + (f": {made.reason}" if made.reason else "")))


@app.command()
def stop(context: typer.Context, path: TaskPath) -> None:
    """Stop all instances of a task."""
    if not session_of(context).inn.schedule.task(path).stop():
        session_of(context).note("Nothing of it ran.")


@app.command()
def enable(context: typer.Context, path: TaskPath) -> None:
    """Let a task's triggers start it."""
    session_of(context).inn.schedule.task(path).enabled = True


@app.command()
def disable(context: typer.Context, path: TaskPath) -> None:
    """Let nothing start a task."""
    session_of(context).inn.schedule.task(path).enabled = False


@app.command()
def delete(context: typer.Context, path: TaskPath) -> None:
    """Forget a task and its history."""
    session_of(context).inn.schedule.folder().delete_task(path)


@app.command()
def history(context: typer.Context, path: TaskPath, json: Json = False) -> None:
    """Show a task's instances, newest first."""
    session = session_of(context)
    runs = session.inn.schedule.task(path).runs()
    if session.json:
        session.answer(RunList(runs=runs))
        return
    made = table("DUE", "STATE", "RESULT", "TASK", "WHY")
    for each in runs:
        task = "" if each.task_id is None else str(each.task_id)
        made.add_row(session.moment(each.due), each.state, str(each.result), task, Text(each.reason))
    session.out.print(made)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_ENOUGH_BYTES)
    except OSError as problem:
        raise ScheduleError(
            f"{path} cannot be read: {problem.strerror}.",
            code=ErrorCode.ERROR_FILE_NOT_FOUND,
            advice="Name a file that is there and that you may read.",
        ) from problem


def _moment(text: str, zone: dt.tzinfo) -> dt.datetime:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError as problem:
        raise InvalidArgument(
            f"“{text}” is no time.", advice="Write it as 2026-11-30 or 2026-11-30T02:00."
        ) from problem
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)


def _calendar(text: str, today: dt.date) -> tuple[str, NamedCalendar]:
    name, is_given, where = text.partition("=")
    if not is_given or not name:
        raise InvalidArgument(f"“{text}” is no calendar.", advice="Write it as freeze=freeze.ics.")
    if where.startswith(_HOLIDAYS):
        return name, public_holidays(where.removeprefix(_HOLIDAYS), range(today.year - 1, today.year + 12))
    return name, read_calendar(_read(Path(where)), today=today)


def _as_json(found: dict[Path, tuple[Deviation, ...]]) -> list[dict[str, object]]:
    return [
        {
            "file": str(path),
            "line": place.line,
            "column": place.column,
            "node": place.node,
            "value": place.value,
            "hresult": int(place.code),
            "code": place.code.name,
            "detail": place.sentence,
            "forgiven": place.forgiven,
        }
        for path, places in found.items()
        for place in places
    ]


def _print_places(session: Session, path: Path, places: tuple[Deviation, ...]) -> None:
    if not places:
        session.out.print(Text.assemble(f"{path}: ", ("valid", "green")))
    for place in places:
        weight = ("warning", "yellow") if place.forgiven else ("error", "bold red")
        where = f"{path}:{place.line}:{place.column}: "
        said = f" {place.node}" + (f" “{place.value[:60]}”" if place.value else "")
        code = (f" [{place.code.name}]", "dim")
        session.out.print(Text.assemble(where, weight, said, f": {place.sentence}", code), soft_wrap=True)


def _print_runs(session: Session, runs: list[tuple[str, list[dt.datetime]]]) -> None:
    made = table("WHEN", "LOCAL", "TASK")
    merged = sorted(((run, name) for name, times in runs for run in times), key=lambda each: each[0])
    for run, name in merged:
        theirs = f"{run:%a %Y-%m-%d %H:%M:%S %Z}"
        ours = f"{run.astimezone(session.tz):%H:%M %Z}"
        made.add_row(theirs, "" if theirs.endswith(ours.split()[-1]) else ours, Text(name))
    if merged:
        session.out.print(made)
    else:
        session.note("No run falls into this time.")
