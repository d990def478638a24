"""Name several servers, and choose which one commands go to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.text import Text

from innkeeper.cli.terminal import Json, Session, session_of, table
from innkeeper.cli.times import parse_zone
from innkeeper.client.contexts import Context, Contexts

app = typer.Typer(name="context", help="Name several servers, and choose between them.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Your name for it.")]


class ContextMessage(BaseModel):
    """A server with a name."""

    name: str
    server: str | None
    socket: str | None
    zone: str | None
    current: bool


class ContextList(BaseModel):
    """All servers with names."""

    contexts: tuple[ContextMessage, ...]


@app.command()
def add(
    context: typer.Context,
    name: Name,
    server: Annotated[str | None, typer.Option(metavar="HOST[:PORT]", help="On another computer.")] = None,
    socket: Annotated[
        Path | None, typer.Option(help="On this computer: its socket, if that is not in a usual place.")
    ] = None,
    zone: Annotated[str | None, typer.Option(help="The time zone to read and show times in.")] = None,
    use: Annotated[bool, typer.Option("--use", help="Send commands there from now on.")] = False,
    json: Json = False,
) -> None:
    """Give a server a name, or change the name's address."""
    if zone:
        parse_zone(zone)
    contexts = Contexts.of_user()
    place = str(socket.absolute()) if socket else None
    contexts.add(Context(name=name, server=server, socket=place, zone=zone))
    if use:
        contexts.use(name)
    _show(session_of(context), contexts)
    if server and not use:
        session_of(context).note(f"Log in there with: innkeeper login {server}")


@app.command()
def use(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="The server's name; the service on this computer if left out."),
    ] = None,
    json: Json = False,
) -> None:
    """Send commands to this server from now on."""
    contexts = Contexts.of_user()
    contexts.use(name)
    _show(session_of(context), contexts)


@app.command("list")
def list_contexts(context: typer.Context, json: Json = False) -> None:
    """Show all names, and which one commands go to."""
    _show(session_of(context), Contexts.of_user())


@app.command()
def remove(context: typer.Context, name: Name, json: Json = False) -> None:
    """Remove a name; the server itself is not touched."""
    contexts = Contexts.of_user()
    contexts.remove(name)
    _show(session_of(context), contexts)


def _show(session: Session, contexts: Contexts) -> None:
    chosen = os.environ.get("INNKEEPER_CONTEXT") or contexts.current
    known = contexts.list()
    if session.json:
        session.answer(ContextList(contexts=tuple(_message(each, chosen) for each in known)))
        return
    rows = table("", "Name", "Inn", "Zone")
    rows.add_row("*" if chosen is None else "", "", "on this computer", "")
    for each in known:
        place = each.server or each.socket or "on this computer"
        rows.add_row("*" if each.name == chosen else "", each.name, Text(place), each.zone or "")
    session.out.print(rows)


def _message(context: Context, chosen: str | None) -> ContextMessage:
    return ContextMessage(
        name=context.name,
        server=context.server,
        socket=context.socket,
        zone=context.zone,
        current=context.name == chosen,
    )
