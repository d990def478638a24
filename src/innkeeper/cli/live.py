"""Show tasks as they run: a row each, moving; or a line at each change where nobody watches."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from rich.text import Text

from innkeeper import client
from innkeeper.cli.exit_codes import ExitCode, of_error, of_result, worst
from innkeeper.cli.terminal import Session, table
from innkeeper.cli.times import say_duration
from innkeeper.errors import MachineError, ServiceError
from innkeeper.wire.messages import TaskList, TaskMessage
from innkeeper.wire.states import CancelEffect, TaskResult

if TYPE_CHECKING:
    from rich.progress_bar import ProgressBar
    from rich.table import Table

Answer = TypeVar("Answer")

#: How often the rows are read anew; an end is shown at once.
REFRESH_SECONDS = 0.4

_EFFECTS = {
    CancelEffect.NONE: "it can no longer be cancelled",
    CancelEffect.BACK_TO_START: "a cancel puts everything back as it was",
    CancelEffect.STOPS_RESUMABLE: "a cancel stops it where it is",
}


def watch(session: Session, tasks: Sequence[client.Task]) -> Sequence[TaskMessage]:
    """Show tasks until all have ended; returns them as they are then.

    The service may be restarted meanwhile. Ctrl-C leaves the tasks running.
    """
    try:
        if session.json:
            return [_ended(task) for task in tasks]
        return _watch_rows(session, tasks) if session.out.is_terminal else _watch_lines(session, tasks)
    except KeyboardInterrupt:
        for task in (each.known for each in tasks):
            if not task.is_complete:
                session.note(
                    f"\nTask {task.id} goes on: innkeeper task watch {task.id}\n"
                    f"Stop it with: innkeeper task cancel {task.id} ({_EFFECTS[task.cancel_effect]})"
                )
        raise


def _ended(task: client.Task) -> TaskMessage:
    task.wait()
    return task.known


def _watch_rows(session: Session, tasks: Sequence[client.Task]) -> Sequence[TaskMessage]:
    from rich.live import Live

    known = [task.known for task in tasks]
    with Live(rows(known), console=session.out, refresh_per_second=8, transient=False) as live:
        while not all(task.is_complete for task in known):
            known = look(tasks, REFRESH_SECONDS)
            live.update(rows(known))
    return known


def _watch_lines(session: Session, tasks: Sequence[client.Task]) -> Sequence[TaskMessage]:
    """Print a line at each new phase."""
    printed: dict[int, str] = {}
    known = [task.known for task in tasks]
    while True:
        for task in known:
            line = _line(task)
            if printed.get(task.id) != line:
                session.out.print(Text(line))
            printed[task.id] = line
        if all(task.is_complete for task in known):
            return known
        known = look(tasks, REFRESH_SECONDS)


def look(tasks: Sequence[client.Task], seconds: float) -> list[TaskMessage]:
    """Read tasks when the first that runs has ended, or after some seconds: the service holds the answer."""
    running = [task for task in tasks if not task.known.is_complete]
    if running:
        with_retries(lambda: running[0].wait(seconds))
    for task in running[1:]:
        with_retries(task.read)
    return [task.known for task in tasks]


def with_retries(read: Callable[[], Answer]) -> Answer:
    """Read from the service, and try again while it is away for a short time."""
    from innkeeper.client.problems import is_away
    from innkeeper.client.tasks import AWAY_SECONDS

    gone_at = time.monotonic()
    while True:
        try:
            return read()
        except ServiceError as error:
            if not is_away(error) or time.monotonic() - gone_at > AWAY_SECONDS:
                raise
            time.sleep(REFRESH_SECONDS)


def _line(task: TaskMessage) -> str:
    told = outcome(task) if task.is_complete else task.phase or "starting"
    return f"Task {task.id}  {task.description}: {told}"


def rows(tasks: Sequence[TaskMessage]) -> Table:
    """The tasks, a row each: phase, percent, time left."""
    made = table("TASK", "WHAT", "PHASE", "", "", "LEFT", right=("LEFT",))
    made.columns[1].max_width = 28
    made.columns[2].max_width = 20
    for task in tasks:
        made.add_row(
            str(task.id), Text(task.description), phase(task), bar(task), percent(task), Text(left(task))
        )
    return made


def phase(task: TaskMessage) -> Text:
    """The current phase of a task, or how it ended."""
    if task.is_complete:
        return Text(outcome(task), style=outcome_style(task))
    if task.waits:
        return Text("waits for its server", style="yellow")
    if task.cancel_requested:
        return Text("cancelling", style="yellow")
    number = f"{task.phase_number}/{task.phase_count} " if task.phase_count else ""
    return Text(f"{number}{task.phase or 'starting'}")


def bar(task: TaskMessage) -> ProgressBar:
    """A progress bar of a task; pulsing if the percentage is not known."""
    from rich.progress_bar import ProgressBar

    if task.is_complete:
        return ProgressBar(total=100, completed=100 if task.result is TaskResult.SUCCESS else 0, width=12)
    return ProgressBar(total=100, completed=task.percent or 0, width=12, pulse=task.percent is None)


def percent(task: TaskMessage) -> Text:
    """The percentage of a task, or nothing if it is not known."""
    return Text("" if task.percent is None or task.is_complete else f"{task.percent:>3}%")


def left(task: TaskMessage) -> str:
    """The estimated time left of a task."""
    return "" if task.seconds_left is None else say_duration(task.seconds_left)


def outcome(task: TaskMessage) -> str:
    """The result of a task, in words."""
    if task.result is TaskResult.SUCCESS:
        return "done"
    if task.result is TaskResult.CANCELLED:
        return "cancelled"
    return task.error_description or (task.result or TaskResult.UNEXPECTED_ERROR).name.lower().replace(
        "_", " "
    )


def outcome_style(task: TaskMessage) -> str:
    """The colour of an outcome."""
    good = {TaskResult.SUCCESS: "green", TaskResult.CANCELLED: "yellow"}
    return good.get(task.result, "red") if task.result is not None else ""


def started(session: Session, task: client.Task, *, no_wait: bool) -> ExitCode:
    """Wait for a task that was just started, or only name it; returns the exit code."""
    if no_wait:
        message = task.read()
        if session.json:
            session.answer(message)
        else:
            session.out.print(Text(f"Task {message.id} started: {message.description}"))
        return ExitCode.DONE
    (message,) = watch(session, (task,))
    if session.json:
        session.answer(message)
    return of_result(message.result)


def all_started(
    session: Session, names: Sequence[str], start: Callable[[client.Machine], client.Task], *, no_wait: bool
) -> ExitCode:
    """Start a task on each machine, and wait for all of them, side by side.

    Raises ``MachineNotFound`` for an unknown machine before anything is started. What is refused on one of
    several machines is told, and the others go on; returns how the worst of them ended.
    """
    machines = [session.inn.machines[name] for name in dict.fromkeys(names)]
    if len(machines) == 1:
        return started(session, start(machines[0]), no_wait=no_wait)
    tasks: list[client.Task] = []
    codes: list[ExitCode] = []
    for machine in machines:
        try:
            tasks.append(start(machine))
        except MachineError as refusal:
            session.complain(refusal)
            codes.append(of_error(refusal))
    return worst([*codes, *_all_ended(session, tasks, no_wait=no_wait)])


def _all_ended(session: Session, tasks: Sequence[client.Task], *, no_wait: bool) -> Sequence[ExitCode]:
    messages = [task.read() for task in tasks] if no_wait else watch(session, tasks)
    if session.json:
        session.answer(TaskList(tasks=tuple(messages)))
    elif no_wait:
        for message in messages:
            session.out.print(Text(f"Task {message.id} started: {message.description}"))
    return () if no_wait else [of_result(message.result) for message in messages]
