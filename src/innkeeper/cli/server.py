"""Look after the servers that share a database."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from innkeeper.cli.terminal import Json, Session, session_of, table
from innkeeper.errors import ErrorCode, InvalidArgument
from innkeeper.wire.servers import ServerList, ServerMessage
from innkeeper.wire.states import ServerState

app = typer.Typer(name="server", help="Look after the servers that share a database.", no_args_is_help=True)

ServerName = Annotated[str, typer.Argument(metavar="SERVER", help="The server's name.")]


@app.command("list")
def list_servers(context: typer.Context, json: Json = False) -> None:
    """List the servers: state, release, since when, hosts, tasks in flight, and when each was last seen."""
    session = session_of(context)
    found = tuple(session.inn.servers)
    if session.json:
        session.answer(ServerList(servers=found))
    else:
        _print(session, found)


@app.command()
def drain(
    context: typer.Context,
    name: ServerName,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until it has nothing left to do or to hand over.")
    ] = False,
    json: Json = False,
) -> None:
    """Drain a server: it begins nothing more, and hands its hosts over as they fall idle (undo: join)."""
    session = session_of(context)
    drained = session.inn.servers.drain(name)
    if wait:
        drained = session.inn.servers.wait_until_idle(name, told=_Waiting(session).tell)
    _answer(session, drained)


@app.command()
def join(context: typer.Context, name: ServerName, json: Json = False) -> None:
    """Bring a drained server back to work: it takes hosts again."""
    session = session_of(context)
    _answer(session, session.inn.servers.join(name))


@app.command()
def retire(
    context: typer.Context,
    name: ServerName,
    yes: Annotated[
        bool,
        typer.Option("--yes", help="Retire it though it lives: it stops, and its work waits for others."),
    ] = False,
    json: Json = False,
) -> None:
    """Give up the name of a server that is gone, and free its hosts for others."""
    session = session_of(context)
    retired = session.inn.servers[name]
    if retired.alive and not yes:
        raise InvalidArgument(
            f"{retired.name} is not retired: it lives, looks after {_hosts(retired) or 'no host'}, and has "
            f"{_in_flight(retired)}.",
            code=ErrorCode.ERROR_BUSY,
            advice=f"Drain it first: innkeeper server drain {retired.name} --wait; or confirm with --yes.",
        )
    retired = session.inn.servers.retire(name, living=yes)
    if session.json:
        session.answer(retired)
    else:
        session.note(f"The server {retired.name} is retired, and its hosts are free.")


class _Waiting:
    """Tells what a drained server is waited for, each time that it is something else."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._last: list[str] = []

    def tell(self, server: ServerMessage) -> None:
        """Print what it has still to do and to hand over."""
        waits = [f"{host.name}: {host.reason}" for host in server.keeps if not host.stays]
        if server.in_flight:
            waits.append(f"{_in_flight(server)}.")
        if waits != self._last:
            for each in waits:
                self._session.note(f"Waiting for {server.name}. {each}")
        self._last = waits


def _in_flight(server: ServerMessage) -> str:
    return f"{server.in_flight} {'task' if server.in_flight == 1 else 'tasks'} in flight"


def _answer(session: Session, server: ServerMessage) -> None:
    if session.json:
        session.answer(server)
    else:
        _print(session, (server,))


def _print(session: Session, servers: tuple[ServerMessage, ...]) -> None:
    made = table("SERVER", "STATE", "RELEASE", "SINCE", "HOSTS", "TASKS", "LAST SEEN", right=("TASKS",))
    for server in servers:
        made.add_row(
            Text(server.name),
            _state(server),
            Text(server.version),
            Text(session.moment(server.since) if server.since else ""),
            Text(_hosts(server)),
            str(server.in_flight),
            Text("now" if server.alive else session.moment(server.last_seen)),
        )
    session.out.print(made)
    for server in servers:
        if server.trouble:
            session.note(
                f"{server.name} has failed: {server.trouble} If it is not to come back: "
                f"innkeeper server retire {server.name}"
            )
        for host in server.keeps:
            session.note(f"{server.name} keeps {host.name}. {host.reason}")


def _state(server: ServerMessage) -> Text:
    if not server.alive:
        return Text("away", style="red")
    return Text(server.state.value, style="" if server.state is ServerState.SERVING else "yellow")


def _hosts(server: ServerMessage) -> str:
    return ", ".join(server.hosts)
