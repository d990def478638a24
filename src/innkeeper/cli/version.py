"""Show the version of this program and of the service."""

from __future__ import annotations

import typer
from rich.text import Text

from innkeeper.cli.terminal import Json, session_of
from innkeeper.errors import InnkeeperError
from innkeeper.wire.messages import InnMessage, VersionMessage
from innkeeper.wire.version import VERSION


def add_to(app: typer.Typer) -> None:
    """Put the command under the root."""
    app.command()(version)


def version(context: typer.Context, json: Json = False) -> None:
    """Print the versions of this program and of the service, where one runs."""
    session = session_of(context)
    service: InnMessage | None
    try:
        service = session.inn.read()
    except InnkeeperError:
        service = None
    if session.json:
        session.answer(VersionMessage(version=VERSION, service=service))
        return
    session.out.print(Text(f"innkeeper {VERSION}"))
    if service is None:
        session.out.print(Text("service   not running"))
        return
    simulated = ", simulated machines" if service.fake else ""
    session.out.print(Text(f"service   {service.version} on {service.server}, as {service.user}{simulated}"))
