"""Follow, cancel and remember running operations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

import typer
from rich.text import Text

from innkeeper.cli import live
from innkeeper.cli.exit_codes import ExitCode, of_result, worst
from innkeeper.cli.terminal import Json, NoWait, Session, facts, session_of, table
from innkeeper.cli.times import parse_duration, say_duration
from innkeeper.client import Task
from innkeeper.wire.messages import LogLineMessage, LogMessage, TaskList, TaskMessage
from innkeeper.wire.states import CancelEffect, LogLevel

app = typer.Typer(name="task", help="Follow, cancel and remember running operations.", no_args_is_help=True)

TaskId = Annotated[int, typer.Argument(metavar="TASK", help="The task's number.")]

_LEVELS = {LogLevel.WARNING: "yellow", LogLevel.ERROR: "red", LogLevel.OUTPUT: "dim"}
_CANCEL = {
    CancelEffect.NONE: "not possible (any more)",
    CancelEffect.BACK_TO_START: "puts everything back as it was",
    CancelEffect.STOPS_RESUMABLE: "stops it where it is; it can be resumed",
}


@app.command("list")
def list_tasks(
    context: typer.Context,
    all_: Annotated[bool, typer.Option("--all", "-a", help="Include ended tasks.")] = False,
    machine: Annotated[str | None, typer.Option(help="Of this machine only.")] = None,
    kind: Annotated[str | None, typer.Option(help="Of this kind only, such as update_run.")] = None,
    search: Annotated[
        str | None, typer.Option(help="Only those with these words in their description or error.")
    ] = None,
    limit: Annotated[int, typer.Option(help="At most this many, the newest first.", min=1)] = 50,
    json: Json = False,
) -> None:
    """List the tasks that run, or all with --all."""
    session = session_of(context)
    found = session.inn.tasks.search(live=None if all_ else True, machine=machine, kind=kind, text=search)
    tasks = tuple(task for task, _ in zip(found, range(limit), strict=False))
    if session.json:
        session.answer(TaskList(tasks=tasks))
    elif not tasks:
        session.note("No task is running." if not all_ else "There are no tasks.")
    else:
        made = table("TASK", "WHAT", "PHASE", "", "STARTED", "BY")
        made.columns[1].max_width = 30
        for task in tasks:
            made.add_row(
                str(task.id),
                Text(task.description),
                live.phase(task),
                live.percent(task),
                session.moment(task.created_at),
                Text(task.owner),
            )
        session.out.print(made)
        for reason, waiting in _waits(tasks).items():
            session.out.print(Text(f"\nTask {', '.join(waiting)}: {reason}", style="yellow"))


def _waits(tasks: Iterable[TaskMessage]) -> Mapping[str, Sequence[str]]:
    """The numbers of the tasks that wait for each reason, in their order."""
    found: dict[str, list[str]] = {}
    for task in tasks:
        if task.waits:
            found.setdefault(task.waits, []).append(str(task.id))
    return found


@app.command()
def show(context: typer.Context, task_id: TaskId, json: Json = False) -> None:
    """Show all that is known of a task."""
    session = session_of(context)
    task = session.inn.tasks[task_id].read()
    if session.json:
        session.answer(task)
        return
    session.out.print(facts(_facts(session, task)))


@app.command()
def watch(
    context: typer.Context,
    task_ids: Annotated[
        list[int] | None,
        typer.Argument(metavar="[TASK]...", help="These tasks; all that run now if left out."),
    ] = None,
    json: Json = False,
) -> None:
    """Follow tasks live until they have ended."""
    session = session_of(context)
    tasks = [session.inn.tasks[task_id] for task_id in task_ids] if task_ids else session.inn.tasks.live()
    if not tasks:
        session.note("No task is running.")
        if session.json:
            session.answer(TaskList(tasks=()))
        return
    ended = live.watch(session, tasks)
    if session.json:
        session.answer(TaskList(tasks=tuple(ended)))
    raise typer.Exit(worst(of_result(task.result) for task in ended))


@app.command()
def log(
    context: typer.Context,
    task_id: TaskId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow until the task has ended.")] = False,
    json: Json = False,
) -> None:
    """Print a task's log."""
    session = session_of(context)
    print_log(session, session.inn.tasks[task_id], follow=follow)


@app.command()
def cancel(context: typer.Context, task_id: TaskId, no_wait: NoWait = False, json: Json = False) -> None:
    """Ask for a task's cancel, and wait until its effect has taken place."""
    session = session_of(context)
    task = session.inn.tasks[task_id]
    message = task.read()
    if message.is_cancelable:
        session.note(f"Task {task_id}: a cancel {_CANCEL[message.cancel_effect]}.")
    task.cancel()
    code = live.started(session, task, no_wait=no_wait)
    raise typer.Exit(ExitCode.DONE if code is ExitCode.CANCELLED else code)


@app.command()
def wait(
    context: typer.Context,
    task_id: TaskId,
    timeout: Annotated[str | None, typer.Option(help="Wait at most this long: 30s, 10m, 2h.")] = None,
    json: Json = False,
) -> None:
    """Wait until a task has ended; the exit code says how."""
    session = session_of(context)
    task = session.inn.tasks[task_id]
    ended = task.wait(parse_duration(timeout).total_seconds() if timeout else None)
    message = task.read()
    if session.json:
        session.answer(message)
    elif ended:
        session.out.print(Text(f"Task {task_id}: {live.outcome(message)}", style=live.outcome_style(message)))
    else:
        session.note(f"Task {task_id} is still running: {message.phase or 'starting'}.")
    raise typer.Exit(of_result(message.result) if ended else ExitCode.TIME_OUT)


def print_log(session: Session, task: Task, *, follow: bool) -> None:
    """Print a task's log so far, and on to its end with ``follow``."""
    lines = list(task.log())
    if session.json and not follow:
        session.answer(LogMessage(task_id=task.id, lines=tuple(lines)))
        return
    _print_lines(session, lines)
    while follow and not task.known.is_complete:
        live.look((task,), live.REFRESH_SECONDS)
        new = list(task.log(after=lines[-1].number if lines else 0))
        _print_lines(session, new)
        lines += new
    if follow:
        _print_lines(session, list(task.log(after=lines[-1].number if lines else 0)))


def _print_lines(session: Session, lines: list[LogLineMessage]) -> None:
    for line in lines:
        if session.json:
            session.out.out(line.model_dump_json())
            continue
        at = line.at.astimezone(session.tz)
        text = Text.assemble((f"{at:%H:%M:%S}  ", "dim"), (line.text, _LEVELS.get(line.level, "")))
        session.out.print(text, soft_wrap=True)


def _facts(session: Session, task: TaskMessage) -> dict[str, str]:
    known = "" if task.percent is None else f"{task.percent} %"
    if task.seconds_left is not None:
        known += f", {say_duration(task.seconds_left)} left"
    return {
        "Task": str(task.id),
        "What": task.description,
        "Phase": "" if task.is_complete else live.phase(task).plain,
        "Waits": task.waits,
        "Done": "" if task.is_complete else known,
        "Bytes": f"{task.bytes_done:,} of {task.bytes_total:,}"
        if task.bytes_total and task.bytes_done
        else "",
        "Cancel": "" if task.is_complete else _CANCEL[task.cancel_effect],
        "Result": task.result.name if task.result is not None else "",
        "Error": f"{task.error:#010x} {task.error_description}" if task.error else "",
        "Holds": task.about or task.lock or "",
        "Part of task": str(task.parent_id or ""),
        "Started": f"{session.moment_and_distance(task.created_at)} by {task.owner}",
        "Ended": session.moment_and_distance(task.ended_at) if task.ended_at else "",
    }
