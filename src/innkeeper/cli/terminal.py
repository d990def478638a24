"""Speak with the person at the terminal: tables, notes, errors, JSON."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import json
import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

import typer

from innkeeper import client
from innkeeper.cli.times import parse_zone, say_both, say_moment
from innkeeper.errors import InnkeeperError

if TYPE_CHECKING:  # each command imports this module: what is heavy is imported where it is used
    from collections.abc import Iterable

    from pydantic import BaseModel
    from rich.console import Console
    from rich.table import Table

    from innkeeper.client.contexts import Context
    from innkeeper.wire.messages import MachineMessage, OfServers


@dataclasses.dataclass(kw_only=True)
class Session:
    """One command's way to the service and to the terminal."""

    socket: Path | None = None
    #: The service on another computer that commands go to; the one on this computer where nothing is said.
    server: str | None = None
    #: The zone that times are read and shown in; the context's or the computer's own where nothing is said.
    zone: ZoneInfo | None = None
    #: Speak JSON.
    json: bool = False
    _read_now: tuple[float, dt.datetime] | None = None

    @functools.cached_property
    def out(self) -> Console:
        """Where answers go."""
        from rich.console import Console

        return Console(highlight=False)

    @functools.cached_property
    def err(self) -> Console:
        """Where errors and notes go."""
        from rich.console import Console

        return Console(stderr=True, highlight=False)

    @functools.cached_property
    def inn(self) -> client.Inn:
        """The service, connected at the first use."""
        if self.server or self.socket or self.context is None:
            return client.connect(self.server, socket=self.socket)
        return client.connect(self.context.server, socket=self.context.socket)

    @functools.cached_property
    def context(self) -> Context | None:
        """The server that commands go to without an option; nothing for the service on this computer."""
        from innkeeper.client.contexts import Contexts

        return Contexts.of_user().chosen()

    @property
    def now(self) -> dt.datetime:
        """The service's own time, which need not be this computer's; read at most once a second."""
        read_at, now = self._read_now or (-math.inf, dt.datetime.now(dt.UTC))
        if time.monotonic() - read_at > 1:
            now = self.inn.read().now
            self._read_now = (time.monotonic(), now)
        return now

    @functools.cached_property
    def tz(self) -> dt.tzinfo:
        """The zone to read and show times in."""
        if self.zone is None and self.context is not None and self.context.zone:
            return parse_zone(self.context.zone)
        return self.zone or _local_zone()

    def moment(self, moment: dt.datetime | None) -> str:
        """A moment, short."""
        return say_moment(moment, self.now, self.tz)

    def moment_and_distance(self, moment: dt.datetime | None) -> str:
        """A moment, and how far it is."""
        return say_both(moment, self.now, self.tz)

    def answer(self, message: BaseModel) -> None:
        """Print an answer as JSON, with the documented keys of the HTTP API."""
        self.out.out(message.model_dump_json(indent=2))

    def note(self, text: str) -> None:
        """Print a remark beside the answer; never in JSON."""
        from rich.text import Text

        if not self.json:
            self.err.print(Text(text))

    def note_missing(self, found: OfServers, what: str) -> None:
        """Print which servers do not answer, whose part of a list is missing."""
        for each in found.missing:
            self.note(f"{each.reason} Its {what} are not shown. Servers: innkeeper server list")

    def complain(self, error: InnkeeperError) -> None:
        """Print an error and its advice."""
        from rich.console import Group
        from rich.text import Text

        if self.json:
            self.err.out(json.dumps(_as_json(error), ensure_ascii=False, indent=2))
            return
        lines = [Text.assemble(("Error: ", "bold red"), error.sentence)]
        if error.advice:
            lines.append(Text(f"       {error.advice}"))
        lines.append(Text(f"       ({error.hresult:#010x} {error.code.name})", style="dim"))
        # In a file or a pipe a sentence stays one line, so that it can be searched for.
        self.err.print(Group(*lines), soft_wrap=not self.err.is_terminal)


def _as_json(error: InnkeeperError) -> dict[str, str | int]:
    return {
        "error": type(error).__name__,
        "hresult": error.hresult,
        "code": error.code.name,
        "detail": error.sentence,
        "advice": error.advice,
    }


def _local_zone() -> dt.tzinfo:
    """The computer's zone, with its rules where its name can be found."""
    name = os.environ.get("TZ") or _zone_of_link(Path("/etc/localtime"))
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return dt.datetime.now().astimezone().tzinfo or dt.UTC


def _zone_of_link(link: Path) -> str:
    return str(link.resolve()).partition("zoneinfo/")[2]


def session_of(context: typer.Context) -> Session:
    """The session that the whole command line shares."""
    return context.find_root().ensure_object(Session)


def _speak_json(context: typer.Context, value: bool) -> bool:
    if value:
        session_of(context).json = True
    return value


#: ``--json``, on every command.
Json = Annotated[
    bool, typer.Option("--json", help="Print JSON with documented keys.", callback=_speak_json, is_eager=True)
]

#: ``--no-wait``, on every command that starts a task.
NoWait = Annotated[bool, typer.Option("--no-wait", help="Return as soon as the task has started.")]


def machine_names(context: typer.Context, incomplete: str) -> list[str]:
    """The machines that a half-typed name may be meant for; none where the service does not answer."""
    try:
        with client.connect(socket=session_of(context).socket) as inn:
            machines = inn.machines.list()
    except InnkeeperError:
        return []
    return completed(machines, incomplete)


def completed(machines: Iterable[MachineMessage], incomplete: str) -> list[str]:
    """The names that a half-typed one may be meant for."""
    typed = incomplete.casefold()
    if "/" in typed:
        names = [f"{machine.host}/{machine.name}" for machine in machines]
        return [name for name in names if name.casefold().startswith(typed)]
    # The title of one among several begins with its host, and is offered for the name that they share.
    return [
        machine.title or machine.name
        for machine in machines
        if (machine.title or machine.name).casefold().startswith(typed)
        or machine.name.casefold().startswith(typed)
    ]


MachineName = Annotated[
    str, typer.Argument(metavar="MACHINE", help="The machine's name.", autocompletion=machine_names)
]

MachineNames = Annotated[
    list[str],
    typer.Argument(
        metavar="MACHINE...", help="The machines' names; one or more.", autocompletion=machine_names
    ),
]


def table(*columns: str, right: tuple[str, ...] = (), whole: tuple[str, ...] = ()) -> Table:
    """A calm table: no lines, names of columns dimmed. Numbers and columns of ``whole`` are not folded."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        made.add_column(
            column,
            justify="right" if column in right else "left",
            overflow="fold",
            no_wrap=column in right + whole,
        )
    return made


def facts(pairs: dict[str, str]) -> Table:
    """Names and values, one a line; empty values are left out."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    made.add_column(style="dim")
    made.add_column(overflow="fold")
    for name, value in pairs.items():
        if value:
            made.add_row(name, Text(value))
    return made
