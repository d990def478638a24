"""Show one task's progress on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from innkeeper.client.tasks import Task
from innkeeper.wire.messages import TaskMessage
from innkeeper.wire.states import TaskResult

#: How long each look at the task waits for its end.
_LOOK_SECONDS = 0.4


def show(task: Task, timeout: float | None = None, *, console: Console | None = None) -> TaskResult | None:
    """Wait as ``Task.wait`` does, with a progress bar; returns how the task ended, nothing if it has not yet.

    On standard error where no ``console`` is given; where nobody watches, the last line alone is printed.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[phase]}", style="dim"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console or Console(stderr=True)) as progress:
        row = progress.add_task(task.description, total=None, phase="")
        left = timeout
        while True:
            wait = _LOOK_SECONDS if left is None else min(left, _LOOK_SECONDS)
            ended = task.wait(wait)
            message = task.read()
            progress.update(
                row,
                total=None if message.percent is None and not ended else 100,
                completed=100 if message.result is TaskResult.SUCCESS else message.percent or 0,
                phase=_phase(message),
            )
            left = None if left is None else left - wait
            if ended or (left is not None and left <= 0):
                return message.result


def _phase(message: TaskMessage) -> str:
    if message.result is TaskResult.SUCCESS:
        return "done"
    return message.error_description or message.phase
