"""Reach TCP ports inside guests, without a network."""

from __future__ import annotations

import os
import threading
from typing import Annotated

import typer
from rich.text import Text

from innkeeper.cli.terminal import Json, MachineName, Session, facts, session_of, table
from innkeeper.client.channel_wires import ChannelWire
from innkeeper.client.channels import PREFIX, Channel
from innkeeper.errors import ErrorCode, InnkeeperError, ServiceError
from innkeeper.wire.channels import ChannelMessage

app = typer.Typer(
    name="channel", help="Reach TCP ports inside guests, without a network.", no_args_is_help=True
)

_PIECE_BYTES = 64 * 1024
_POSTGRES_PORT = 5432

PipeArgument = Annotated[
    str, typer.Argument(metavar="PIPE", help=r"The pipe's name: web-1-psql, or \\.\pipe\web-1-psql.")
]
PortArgument = Annotated[str, typer.Argument(metavar="PORT", help="The TCP port in the guest.")]


@app.command("open")
def open_channel(
    context: typer.Context,
    machine: MachineName,
    port: PortArgument,
    pipe: Annotated[
        str | None, typer.Argument(metavar="[PIPE]", help="The pipe's name; MACHINE-PORT if left out.")
    ] = None,
    json: Json = False,
) -> None:
    """Join a pipe on this host to a TCP port of a guest; it ends with the machine's run."""
    session = session_of(context)
    channel = session.inn.channels.start(machine, _pipe_name(pipe or f"{machine}-{port}"), port)
    message = channel.read()
    if session.json:
        session.answer(message)
    else:
        session.out.print(facts(_facts(session, message)))


@app.command("list")
def list_channels(
    context: typer.Context,
    machine: Annotated[str | None, typer.Option(help="Only this machine's.")] = None,
    json: Json = False,
) -> None:
    """List the channels, and what has gone through them."""
    session = session_of(context)
    found = session.inn.channels.read(machine)
    if session.json:
        session.answer(found)
    elif found.channels:
        _print(session, found.channels)
    elif not found.missing:
        session.note("There is no channel. Open one with: innkeeper channel open MACHINE PORT")
    session.note_missing(found, "channels")


@app.command()
def show(context: typer.Context, pipe: PipeArgument, json: Json = False) -> None:
    """Show one channel: its socket, since when, and what has gone through it."""
    session = session_of(context)
    message = session.inn.channels[pipe].read()
    if session.json:
        session.answer(message)
    else:
        session.out.print(facts(_facts(session, message)))


@app.command()
def close(context: typer.Context, pipe: PipeArgument, json: Json = False) -> None:
    """Close a channel; its connections are cut."""
    session = session_of(context)
    channel = session.inn.channels[pipe]
    message = channel.read()
    channel.close()
    if session.json:
        session.answer(message)
    else:
        session.out.print(Text(f"The pipe {message.pipe_name} was closed."))


@app.command()
def connect(
    context: typer.Context,
    target: Annotated[str, typer.Argument(metavar="TARGET", help="A pipe's name, or with PORT a machine's.")],
    port: Annotated[
        str | None,
        typer.Argument(metavar="[PORT]", help="A TCP port of that machine's guest; its channel is opened."),
    ] = None,
    json: Json = False,
) -> None:
    """Carry standard input and output through a channel: for `ssh -o ProxyCommand` and its like."""
    session = session_of(context)
    channel = session.inn.channels[target] if port is None else _opened(session, target, port)
    wire = channel.connect()
    try:
        _carry(wire)
    finally:
        wire.close()


def _opened(session: Session, machine: str, port: str) -> Channel:
    """The channel of a machine's port, opened where it is not open yet."""
    name = f"{machine}-{port}"
    try:
        return session.inn.channels.start(machine, _pipe_name(name), port)
    except InnkeeperError as error:
        if error.code is not ErrorCode.ERROR_ALREADY_EXISTS:
            raise
        return session.inn.channels[name]


def _carry(wire: ChannelWire) -> None:
    """Carry bytes until the other side sends no more; Ctrl-C and a closed output end it too."""
    threading.Thread(target=_send_input, args=(wire,), daemon=True).start()
    while data := wire.receive():
        while data:
            data = data[os.write(1, data) :]


def _send_input(wire: ChannelWire) -> None:
    try:
        while data := os.read(0, _PIECE_BYTES):
            wire.send(data)
        wire.finish()
    except ServiceError:
        return  # whoever receives says so


def _pipe_name(text: str) -> str:
    return text if text.startswith("\\") else PREFIX + text


def _print(session: Session, channels: tuple[ChannelMessage, ...]) -> None:
    made = table("PIPE", "MACHINE", "PORT", "OPEN", "TO GUEST", "FROM GUEST", "SINCE", right=("PORT", "OPEN"))
    for channel in channels:
        made.add_row(
            Text(channel.pipe_name[len(PREFIX) :], style="" if channel.is_ready else "yellow"),
            Text(channel.machine),
            str(channel.guest_port),
            str(channel.open_connections),
            _size(channel.bytes_to_guest),
            _size(channel.bytes_from_guest),
            session.moment(channel.opened_at),
        )
    session.out.print(made)


def _facts(session: Session, channel: ChannelMessage) -> dict[str, str]:
    psql = f"psql -h {channel.postgres_directory} -p {channel.guest_port}"
    return {
        "Pipe": channel.pipe_name,
        "Machine": channel.machine,
        "Port": str(channel.guest_port),
        "Socket": channel.socket,
        "psql": psql if channel.guest_port == _POSTGRES_PORT and channel.postgres_directory else "",
        "Since": session.moment_and_distance(channel.opened_at),
        "By": channel.owner,
        "Guest": "ready" if channel.is_ready else "not there; connections wait a little for it",
        "Connections": f"{channel.open_connections} open, {channel.connections} so far",
        "To guest": _size(channel.bytes_to_guest),
        "From guest": _size(channel.bytes_from_guest),
        "Refused": str(channel.refused or ""),
        "Cut": str(channel.cut or ""),
        "Last trouble": channel.last_trouble,
    }


def _size(size: int) -> str:
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"
