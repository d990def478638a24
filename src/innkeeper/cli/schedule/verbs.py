"""Work on scheduled tasks; what needs no service works on files."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from innkeeper.cli.schedule import add as schedule_add
from innkeeper.cli.schedule import control as schedule_control
from innkeeper.cli.schedule import folder as schedule_folder
from innkeeper.cli.schedule import next_runs as schedule_next
from innkeeper.cli.schedule import validate as schedule_validate
from innkeeper.cli.schedule.files import TaskPath, read
from innkeeper.cli.schedule.words import say_action, say_settings, say_trigger
from innkeeper.cli.terminal import Json, Session, facts, session_of, table
from innkeeper.cli.times import say_duration
from innkeeper.client.schedule import RegisteredTask, TaskFolder
from innkeeper.errors import ErrorCode, InvalidArgument
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.model.enumerations import TaskCreation, TaskRunFlags
from innkeeper.schedule.xml.encoding import Encoding
from innkeeper.wire.schedule import RunList, RunMessage, ScheduledTaskList, ScheduledTaskMessage
from innkeeper.wire.states import RunState

app = typer.Typer(
    name="schedule",
    help="Work on scheduled tasks (Task Scheduler 2.0).",
    no_args_is_help=True,
    rich_markup_mode=None,
)

#: Exit codes are bytes; what is above is a documented result.
_HIGHEST_EXIT_CODE = 255
_STYLES = {
    RunState.FINISHED: "green",
    RunState.RUNNING: "cyan",
    RunState.INTERRUPTED: "bold red",
    RunState.TERMINATED: "yellow",
}

#: What a state of the history is asked for by.
_STATES = {
    "running": (RunState.CLAIMED, RunState.RUNNING),
    "queued": (RunState.QUEUED,),
    "finished": (RunState.FINISHED,),
    "stopped": (RunState.TERMINATED,),
    "skipped": (RunState.SKIPPED,),
    "interrupted": (RunState.INTERRUPTED,),
    "failed": (RunState.FINISHED, RunState.TERMINATED, RunState.SKIPPED, RunState.INTERRUPTED),
}

schedule_add.add_to(app)


@app.command("list")
def list_tasks(
    context: typer.Context,
    folder: Annotated[
        str, typer.Argument(metavar="[FOLDER]", help="The folder; the root if left out.")
    ] = "\\",
    everywhere: Annotated[bool, typer.Option("--all", help="Include subfolders.")] = False,
    hidden: Annotated[bool, typer.Option("--hidden", help="Hidden tasks too.")] = False,
    json: Json = False,
) -> None:
    r"""List the tasks and folders in a folder.

    Examples:

        innkeeper schedule list --all

        innkeeper schedule list '\Nightly'
    """
    session = session_of(context)
    top = session.inn.schedule.folder(folder)
    tasks = [
        task.read() for each in _folders(session, top, everywhere) for task in each.list_tasks(hidden=hidden)
    ]
    if session.json:
        session.answer(ScheduledTaskList(tasks=tuple(tasks)))
        return
    made = table("TASK", "STATE", "NEXT RUN", "LAST RUN", "RESULT", "MISSED", right=("MISSED",))
    for path in () if everywhere else top.folders:
        made.add_row(Text(f"{path}\\", style="bold"), "", "", "", "", "")
    for message in tasks:
        made.add_row(
            Text(message.path), message.state.lower(), session.moment(message.next_run_time),
            session.moment(message.last_run_time), _result(message.last_task_result),
            str(message.number_of_missed_runs or ""),
        )  # fmt: skip
    if made.row_count:
        session.out.print(made)
        if not tasks:
            session.note("Include subfolders with: innkeeper schedule list --all")
    else:
        session.note(f"There is nothing in {top.path}. Register a task with: innkeeper schedule add")


def _folders(session: Session, top: TaskFolder, everywhere: bool) -> list[TaskFolder]:
    if not everywhere:
        return [top]
    inside = [session.inn.schedule.folder(path) for path in top.folders]
    return [top, *(each for folder in inside for each in _folders(session, folder, everywhere))]


def _result(result: int) -> str:
    """An exit code, or the documented name of a result."""
    if result == ErrorCode.SCHED_S_TASK_HAS_NOT_RUN:
        return "never ran"
    if result <= _HIGHEST_EXIT_CODE:
        return str(result)
    try:
        return ErrorCode(result).name.removeprefix("SCHED_S_TASK_").removeprefix("SCHED_E_").lower()
    except ValueError:
        return f"{result:#x}"


@app.command()
def show(
    context: typer.Context,
    path: TaskPath,
    xml: Annotated[bool, typer.Option("--xml", help="Show its definition as XML.")] = False,
    json: Json = False,
) -> None:
    """Show a task: when it runs, what it does, and how it went."""
    session = session_of(context)
    message = session.inn.schedule.task(path).read()
    if session.json:
        session.answer(message)
    elif xml:
        session.out.out(message.xml)
    else:
        _print_task(session, message)


def _print_task(session: Session, message: ScheduledTaskMessage) -> None:
    definition = TaskDefinition.from_xml(message.xml)
    names = {class_id.upper(): name for name, class_id in session.inn.schedule.operations.items()}
    runs = session.inn.schedule.task(message.path).runs()
    session.out.print(Text(message.path, style="bold"))
    pairs = {
        "state": message.state.lower(),
        "for": definition.registration_info.description or "",
        "runs": "\n".join(say_trigger(each) for each in definition.triggers) or "only by hand",
        "zone": definition.extension.zone or "the host's",
        "not on days of": ", ".join(definition.extension.exclude),
        "on days of": ", ".join(definition.extension.include),
        "does": "\n".join(say_action(each, names) for each in definition.actions),
        "on": ", ".join(message.machines),
        "as": definition.principal.user_id or definition.principal.group_id or "",
        "also": "\n".join(say_settings(definition)),
        "next run": session.moment_and_distance(message.next_run_time),
        "last run": session.moment_and_distance(message.last_run_time) if message.last_run_time else "",
        "last result": _result(message.last_task_result),
        "missed": str(message.number_of_missed_runs or ""),
        "registered by": message.owner,
        "notice": "\n".join(message.notices),
    }
    session.out.print(facts(pairs))
    if runs:
        session.out.print(Text("\nlast runs", style="dim"))
        session.out.print(_runs_table(session, runs[:5], paths=False))


@app.command("import")
def import_task(
    context: typer.Context,
    path: TaskPath,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The definition, as Windows exports it.")],
    create: Annotated[
        bool, typer.Option("--create", help="Refuse where there is a task of this path.")
    ] = False,
    disabled: Annotated[bool, typer.Option("--disabled", help="Register it disabled.")] = False,
    json: Json = False,
) -> None:
    r"""Register a task from a file, or replace the one of this path.

    What can be meant in one way only is mended and told; see innkeeper schedule validate.

    Example:

        innkeeper schedule import '\Nightly\Compact' compact.xml
    """
    session = session_of(context)
    definition = TaskDefinition.from_xml(read(file))
    for place in definition.deviations:
        session.note(f"{file}:{place.line}:{place.column}: {place.node}: {place.sentence}: mended")
    flags = TaskCreation.CREATE if create else TaskCreation.CREATE_OR_UPDATE
    if disabled:
        flags |= TaskCreation.DISABLE
    made = session.inn.schedule.folder().register(path, definition, flags)
    if session.json:
        session.answer(made.read())
    else:
        session.out.print(Text(f"{made.path} is registered. Next run: {session.moment(made.next_run_time)}"))


@app.command()
def export(
    context: typer.Context,
    path: TaskPath,
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Where to write it; standard output if left out.")
    ] = None,
    utf_8: Annotated[bool, typer.Option("--utf-8", help="In UTF-8 instead of UTF-16.")] = False,
    json: Json = False,
) -> None:
    r"""Write a task's definition, as Windows reads it (UTF-16).

    Example:

        innkeeper schedule export '\Nightly\Compact' compact.xml
    """
    session = session_of(context)
    message = session.inn.schedule.task(path).read()
    data = TaskDefinition.from_xml(message.xml).to_xml(Encoding.UTF_8 if utf_8 else Encoding.UTF_16)
    if session.json:
        session.answer(message)
    elif file is None:
        sys.stdout.buffer.write(data)
    else:
        _write(file, data)
        session.note(f"{message.path} is written to {file}.")


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as problem:
        raise InvalidArgument(
            f"{path} cannot be written: {problem.strerror}.", advice="Name a file that you may write."
        ) from problem


@app.command(context_settings={"ignore_unknown_options": True})
def run(
    context: typer.Context,
    path: TaskPath,
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[ARGUMENT…]", help="For $(Arg0) and on.")
    ] = None,
    ignore_conditions: Annotated[
        bool, typer.Option("--ignore-conditions", help="Ignore the battery, network and idle conditions.")
    ] = False,
    json: Json = False,
) -> None:
    """Start a task now, whatever its triggers say; follow it with innkeeper task watch."""
    session = session_of(context)
    flags = TaskRunFlags.IGNORE_CONSTRAINTS if ignore_conditions else TaskRunFlags.NO_FLAGS
    run = session.inn.schedule.task(path).run(*(arguments or []), flags=flags).message
    if session.json:
        session.answer(run)
        return
    if run.task_id is None:
        session.out.print(Text(f"{path}: {run.state}" + (f": {run.reason}" if run.reason else "")))
    else:
        session.out.print(Text(f"{path} runs as task {run.task_id}."))
        session.note(f"Follow it with: innkeeper task watch {run.task_id}")


@app.command()
def stop(context: typer.Context, path: TaskPath, json: Json = False) -> None:
    """Stop all instances of a task."""
    session = session_of(context)
    task = session.inn.schedule.task(path)
    stopped = task.stop()
    _tell(session, task, "is asked to stop." if stopped else "did not run.")


@app.command()
def enable(context: typer.Context, path: TaskPath, json: Json = False) -> None:
    """Enable a task, so that its triggers start it."""
    session = session_of(context)
    task = session.inn.schedule.task(path)
    task.enabled = True
    following = task.next_run_time
    _tell(session, task, f"is enabled. Next run: {session.moment_and_distance(following)}")


@app.command()
def disable(context: typer.Context, path: TaskPath, json: Json = False) -> None:
    """Disable a task, so that nothing starts it, until innkeeper schedule enable."""
    session = session_of(context)
    task = session.inn.schedule.task(path)
    task.enabled = False
    _tell(session, task, "is disabled: nothing starts it, and what it misses is not made up for.")


@app.command()
def delete(
    context: typer.Context,
    path: TaskPath,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Forget a task and its history; asks first, where a person is there to ask."""
    session = session_of(context)
    task = session.inn.schedule.task(path)
    message = task.read()
    if not yes and not session.json and sys.stdin.isatty():
        typer.confirm(f"Delete {message.path} and its history?", abort=True)
    session.inn.schedule.folder().delete_task(path)
    if session.json:
        session.answer(message)
    else:
        session.out.print(Text(f"{message.path} is deleted."))


def _tell(session: Session, task: RegisteredTask, what: str) -> None:
    if session.json:
        session.answer(task.read())
    else:
        session.out.print(Text(f"{task.path} {what}"))


@app.command()
def history(
    context: typer.Context,
    path: Annotated[
        str | None, typer.Argument(metavar="[TASK]", help="The task's path; all tasks if left out.")
    ] = None,
    search: Annotated[
        str, typer.Option(metavar="TEXT", help="Only where the path, or the reason, has this text.")
    ] = "",
    state: Annotated[
        str | None, typer.Option(help="running, queued, finished, stopped, skipped, interrupted or failed.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 30,
    json: Json = False,
) -> None:
    r"""Show instances of tasks, newest first: when, how long, the result, and why.

    The TASK column has the number of the running operation, whose output innkeeper task log shows.

    Examples:

        innkeeper schedule history '\Nightly\Compact'

        innkeeper schedule history --state failed --search nightly
    """
    session = session_of(context)
    if state is not None and state not in _STATES:
        raise InvalidArgument(f"“{state}” is not a state.", advice=f"Write one of {', '.join(_STATES)}.")
    runs = tuple(itertools.islice(_history(session, path, search, state), limit))
    if session.json:
        session.answer(RunList(runs=runs))
    elif runs:
        session.out.print(_runs_table(session, runs, paths=path is None))
    else:
        session.note("There are no runs.")


def _history(session: Session, path: str | None, search: str, state: str | None) -> Iterator[RunMessage]:
    states = _STATES[state] if state else ()
    if path is None:
        found = session.inn.schedule.search(search, states=states)
    else:
        found = (
            run
            for run in session.inn.schedule.task(path).runs()
            if (not states or run.state in states) and search.casefold() in run.reason.casefold()
        )
    return (run for run in found if state != "failed" or run.state is not RunState.FINISHED or run.result)


def _runs_table(session: Session, runs: Sequence[RunMessage], *, paths: bool) -> Table:
    made = table(
        "WHEN", *(["PATH"] if paths else []), "STATE", "TOOK", "RESULT", "TASK", "WHY", right=("TASK",)
    )
    for each in runs:
        began = each.started_at or each.due
        ended = each.started_at and each.ended_at
        failed = bool(each.result) and each.state is RunState.FINISHED
        made.add_row(
            session.moment(began),
            *([Text(each.path)] if paths else []),
            Text(each.state, style="red" if failed else _STYLES.get(each.state, "")),
            say_duration((ended - began).total_seconds()) if ended else "",
            "" if each.ended_at is None else _result(each.result),
            "" if each.task_id is None else str(each.task_id),
            Text(each.reason),
        )
    return made


schedule_control.add_to(app)
schedule_next.add_to(app)
schedule_validate.add_to(app)
app.add_typer(schedule_folder.app)
