"""Watch machines as they work: a live table of all, or of one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from innkeeper.cli.live import with_retries
from innkeeper.cli.machine import say_state
from innkeeper.cli.terminal import Json, Session, session_of, table
from innkeeper.cli.times import say_duration
from innkeeper.client import Machine
from innkeeper.errors import MachineNotFound
from innkeeper.wire.accountant import AccountMessage, HistoryMessage, WatchedList, WatchedMessage

_REFRESH_SECONDS = 1.0
#: The heights of a history's columns.
_BLOCKS = " ▁▂▃▄▅▆▇█"
_UNITS = ("B", "K", "M", "G", "T")


def add_to(app: typer.Typer) -> None:
    """Add the command to those of machines."""
    app.command("watch")(watch)


def watch(
    context: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[MACHINE]...", help="Those to watch; none for all.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Show it once, and end.")] = False,
    json: Json = False,
) -> None:
    """Watch state, processor, memory, disks, network and heartbeat live. Ctrl-C ends it."""
    session = session_of(context)
    watched = names or []
    seen = _read(session, watched)
    if session.json:
        session.answer(WatchedList(machines=tuple(seen)))
        return
    if once or not session.out.is_terminal:
        session.out.print(_picture(session, seen, watched))
        return
    with Live(_picture(session, seen, watched), console=session.out, screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(_REFRESH_SECONDS)
            seen = with_retries(lambda: _read(session, watched))
            live.update(_picture(session, seen, watched), refresh=True)


def _read(session: Session, names: Sequence[str]) -> list[WatchedMessage]:
    machines = session.inn.machines.accounts()
    if not names:
        return list(machines)
    known = {each.account.machine.casefold(): each for each in machines}
    for name in names:
        if name.casefold() not in known:
            raise MachineNotFound(
                f"There is no machine “{name}”.",
                machine=name,
                advice="innkeeper machine list shows all of them.",
            )
    return [known[name.casefold()] for name in names]


def _picture(session: Session, seen: Sequence[WatchedMessage], names: Sequence[str]) -> RenderableType:
    made = _table(seen)
    if len(names) != 1:
        return made
    machine = session.inn.machines[names[0]]
    return Group(made, Text(), *_one(machine))


def _table(seen: Sequence[WatchedMessage]) -> Table:
    right = ("CPU", "MEM", "READ", "WRITE", "IN", "OUT", "HEART", "UP")
    made = table("MACHINE", "STATE", *right, right=right)
    for each in seen:
        made.add_row(
            Text(each.account.machine), say_state(each.state), *_figures(each.account, each.heartbeat)
        )
    return made


def _figures(account: AccountMessage, heartbeat: int | None) -> Sequence[str | Text]:
    if not account.is_on:
        return [""] * 8
    rates = account.rates
    network = account.network_received_bytes is not None
    return [
        f"{rates.cpu_percent:.0f}%",
        say_size(rates.memory_bytes),
        say_size(rates.disk_read),
        say_size(rates.disk_written),
        say_size(rates.network_received) if network else "–",
        say_size(rates.network_sent) if network else "–",
        _heart(heartbeat),
        "" if account.uptime_seconds is None else say_duration(account.uptime_seconds),
    ]


def _heart(percent: int | None) -> Text:
    if percent is None:
        return Text("")
    return Text(f"{percent}%", style="green" if percent >= 90 else "yellow" if percent else "red")


def _one(machine: Machine) -> Sequence[Text]:
    """Histories of one machine: the last minute, a column a second."""
    history = machine.accountant.history()
    read, written = _values(history, "disk_read"), _values(history, "disk_written")
    received, sent = _values(history, "network_received"), _values(history, "network_sent")
    return [
        _line("CPU", [point.cpu_percent for point in history.points], 100.0, "100%"),
        _line("disk read", read, max(read), say_size(max(read)) + "/s"),
        _line("disk write", written, max(written), say_size(max(written)) + "/s"),
        _line("net in", received, max(received), say_size(max(received)) + "/s"),
        _line("net out", sent, max(sent), say_size(max(sent)) + "/s"),
    ]


def _values(history: HistoryMessage, what: str) -> list[float]:
    return [float(getattr(point, what)) for point in history.points]


def _line(name: str, values: Sequence[float], most: float, scale: str) -> Text:
    highest = len(_BLOCKS) - 1
    columns = "".join(
        _BLOCKS[min(highest, round(value / most * highest)) if most > 0 else 0] for value in values
    )
    return Text.assemble((f"{name:>10}  ", "dim"), columns, (f"  {scale}", "dim"))


def say_size(count: float) -> str:
    """Bytes, short: ``1.5M``."""
    for unit in _UNITS:
        if count < 1000 or unit == _UNITS[-1]:
            return f"{count:.0f}{unit}" if count >= 10 or unit == "B" else f"{count:.1f}{unit}"
        count /= 1024
    raise AssertionError("the last unit takes all")
