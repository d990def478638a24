"""Draw the progress of operations on disks: bytes, rate, time left; the same with a service and without."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

import rich.progress
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from innkeeper.cli.disk.words import say_bytes
from innkeeper.cli.exit_codes import ExitCode, of_result
from innkeeper.cli.live import REFRESH_SECONDS, look, outcome, with_retries
from innkeeper.cli.terminal import Session
from innkeeper.client import Task
from innkeeper.disks.progress import Cancelled
from innkeeper.wire.messages import TaskMessage
from innkeeper.wire.states import CancelEffect, TaskResult

_EFFECTS = {
    CancelEffect.NONE: "it can no longer be cancelled",
    CancelEffect.BACK_TO_START: "a cancel puts everything back as it was",
    CancelEffect.STOPS_RESUMABLE: "a cancel stops it and leaves the disk whole",
}


class Bars:
    """One bar a phase."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[str, TaskID] = {}

    def move(self, phase: str, done: int, total: int) -> None:
        """Move the phase's bar."""
        # Begun late: what is over at once draws nothing.
        self._progress.start()
        if phase not in self._bars:
            self._bars[phase] = self._progress.add_task(phase, total=total)
        self._progress.update(self._bars[phase], completed=done, total=total)


class BarWatch:
    """Draws an operation's progress, and passes Ctrl-C to it (``disks.Watch``)."""

    def __init__(self, progress: Progress) -> None:
        self._console = progress.console
        self._bars = Bars(progress)
        self._stop = False
        self._can_stop = True

    def advance(self, phase: str, done: int, total: int) -> None:
        """Move the phase's bar."""
        self._bars.move(phase, done, total)

    def cancel_requested(self) -> bool:
        """Whether Ctrl-C was pressed while that still helped."""
        return self._stop and self._can_stop

    def past_return(self) -> None:
        """Record that the operation can only be finished; raises ``Cancelled`` where Ctrl-C came before."""
        if self._stop and self._can_stop:
            raise Cancelled("The operation was cancelled.", path="")
        self._can_stop = False

    def interrupt(self, number: int, frame: FrameType | None) -> None:
        """Take Ctrl-C."""
        self._stop = True
        if not self._can_stop:
            self._console.print("It can no longer be cancelled and will be finished.")


@contextlib.contextmanager
def bar() -> Iterator[BarWatch]:
    """Follow an operation on standard error; while it runs, Ctrl-C asks it to stop."""
    progress = _progress()
    watch = BarWatch(progress)
    before = signal.signal(signal.SIGINT, watch.interrupt)
    try:
        yield watch
    finally:
        signal.signal(signal.SIGINT, before)
        _end(progress)


def follow(session: Session, task: Task, *, no_wait: bool = False) -> TaskMessage:
    """See a task of the service to its end, or only name it. Ctrl-C leaves it running, and says so."""
    message = with_retries(task.read)
    if no_wait:
        if not session.json:
            session.out.print(f"Task {message.id} started: {message.description}", markup=False)
        return message
    progress = _progress()
    try:
        bars = Bars(progress)
        while not message.is_complete:
            (message,) = look((task,), REFRESH_SECONDS / 4)
            if message.bytes_total:
                bars.move(message.phase, message.bytes_done or 0, message.bytes_total)
    except KeyboardInterrupt:
        session.note(
            f"\nTask {message.id} goes on: innkeeper task watch {message.id}\n"
            f"Stop it with: innkeeper task cancel {message.id} ({_EFFECTS[message.cancel_effect]})"
        )
        raise
    finally:
        _end(progress)
    if message.result is not TaskResult.SUCCESS and not session.json:
        session.note(f"Error: {outcome(message)}\n       (task {message.id}, {message.error:#010x})")
    return message


def exit_code(message: TaskMessage) -> ExitCode:
    """How a command ends that has followed a task, or started one and gone."""
    return of_result(message.result) if message.is_complete else ExitCode.DONE


class _Rate(ProgressColumn):
    """Column with the operation's speed, once it can be told."""

    def render(self, task: rich.progress.Task) -> Text:
        """So many bytes a second."""
        speed = task.finished_speed or task.speed
        return Text(f"{say_bytes(int(speed))}/s" if speed else "", style="progress.data.speed")


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        _Rate(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True, highlight=False))


def _end(progress: Progress) -> None:
    if progress.live.is_started:
        progress.stop()
