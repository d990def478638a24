"""Show the night as it goes: a row for each machine, or a line at each change where nobody watches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from demo.cast import Cast
from innkeeper.wire.messages import TaskMessage, UpdateMessage
from innkeeper.wire.states import UpdateStatus, Verdict

_VERDICT_STYLES = {
    Verdict.KEPT: "bold green",
    Verdict.ROLLED_BACK: "bold yellow",
    Verdict.NOT_STARTED: "bold red",
    Verdict.NOTHING_TO_DO: "bold green",
    Verdict.NEEDS_HELP: "bold red",
}
_STATUS_STYLES = {UpdateStatus.SUCCESS: "green", UpdateStatus.FAILED: "red", UpdateStatus.TIMEOUT: "red"}


class NightView:
    """What the terminal shows of the night; a context."""

    def __init__(self, console: Console, stories: Mapping[str, str], cast: Cast | None = None) -> None:
        self._console = console
        self._cast = cast
        self._stories = stories
        self._said: dict[str, str] = {}
        self._live = Live(console=console, refresh_per_second=8, transient=False)

    def __enter__(self) -> NightView:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def say(self, text: str) -> None:
        """Print a line above the rows."""
        self._console.print(text)

    def show(self, updates: Sequence[UpdateMessage]) -> None:
        """Show how far each machine is."""
        if self._cast is not None:
            shown = Group("[bold]$ make demo[/]\n", rows(updates, self._stories))
            self._cast.add(shown, last=all(update.verdict is not None for update in updates))
        if self._console.is_terminal:
            self._live.update(rows(updates, self._stories))
            return
        for update in updates:
            line = _line(update)
            if self._said.get(update.machine) != line:
                self._said[update.machine] = line
                self._console.print(line, highlight=False)


def rows(updates: Sequence[UpdateMessage], stories: Mapping[str, str]) -> Table:
    """The machines, a row each."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("MACHINE", "TONIGHT", "STATUS", "PHASE", "", "", "LEFT"):
        table.add_column(heading, no_wrap=heading != "TONIGHT")
    for update in sorted(updates, key=lambda update: list(stories).index(update.machine)):
        status = Text(update.status.name, style=_STATUS_STYLES.get(update.status, "cyan"))
        table.add_row(update.machine, stories[update.machine], status, *_progress(update))
    return table


def _progress(update: UpdateMessage) -> Iterator[Text | ProgressBar | str]:
    task = update.task
    if update.verdict is not None:
        yield Text(update.verdict.replace("_", " "), style=_VERDICT_STYLES[update.verdict])
        yield from (ProgressBar(total=100, completed=100, width=16), "", "")
        return
    if task is None:
        yield from (Text("waits", style="dim"), "", "", "")
        return
    yield Text(_phase(task))
    yield ProgressBar(total=100, completed=task.percent or 0, width=16, pulse=task.percent is None)
    yield "" if task.percent is None else f"{task.percent:3} %"
    yield "" if task.seconds_left is None else f"{task.seconds_left // 60}:{task.seconds_left % 60:02}"


def _phase(task: TaskMessage) -> str:
    number = f"{task.phase_number}/{task.phase_count} " if task.phase_count else ""
    return f"{number}{task.phase or 'starting'}"


def _line(update: UpdateMessage) -> str:
    if update.verdict is not None:
        return f"{update.machine:8}{update.status.name:12}{update.verdict.replace('_', ' ')}"
    phase = _phase(update.task) if update.task is not None else "waits"
    return f"{update.machine:8}{update.status.name:12}{phase}"
