"""Run the service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from innkeeper.cli.terminal import session_of
from innkeeper.errors import InvalidArgument


def add_to(app: typer.Typer) -> None:
    """Put the command under the root."""
    app.command()(serve)


def serve(
    context: typer.Context,
    machines: Annotated[
        int | None, typer.Argument(metavar="[N]", help="With --fake: how many simulated machines.", min=1)
    ] = None,
    fake: Annotated[bool, typer.Option("--fake", help="Simulate machines: nothing real is touched.")] = False,
    speed: Annotated[
        float | None, typer.Option(help="With --fake: how many times faster time goes.", min=0.01)
    ] = None,
    lively: Annotated[
        bool,
        typer.Option(
            "--lively", help="With --fake: book updates every night, so that there is something to see."
        ),
    ] = False,
    config: Annotated[
        Path | None, typer.Option(help="The settings file (TOML).", envvar="INNKEEPER_CONFIG")
    ] = None,
    state_dir: Annotated[Path | None, typer.Option(help="Where the service keeps its state.")] = None,
    listen: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST:PORT", help="Listen on this address for other computers. May be given again."
        ),
    ] = None,
    tls_certificate: Annotated[
        Path | None, typer.Option(help="The certificate for that (PEM); one is made if left out.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="The certificate's key (PEM).")] = None,
    hypervisor: Annotated[
        list[str] | None, typer.Option(metavar="URI", help="A host's libvirt URI. May be given again.")
    ] = None,
    database: Annotated[str | None, typer.Option(help="The database's URL; SQLite if left out.")] = None,
    log_json: Annotated[
        bool | None, typer.Option("--log-json/--log-text", help="Log lines as JSON or as text.")
    ] = None,
) -> None:
    """Run the service until it is told to stop (Ctrl-C, or SIGTERM)."""
    # Only here: the other commands need nothing of the server, and start quicker without it.
    from innkeeper.server import service, settings

    if not fake and (machines is not None or speed is not None or lively):
        raise InvalidArgument(
            "How many machines, how fast and how lively goes with simulated machines only.",
            advice="Add --fake.",
        )
    _refuse_password(database)
    simulated = {"machines": machines, "speed": speed, "lively": lively or None}
    flags = {
        "socket": session_of(context).socket,
        "state_dir": state_dir,
        "listen": tuple(listen) if listen else None,
        "tls_certificate": tls_certificate,
        "tls_key": tls_key,
        "hypervisors": tuple(hypervisor) if hypervisor else None,
        "database": database,
        "log_json": log_json,
        "fake": {name: value for name, value in simulated.items() if value is not None} if fake else None,
    }
    service.run(settings.load(file=config, flags=flags))


def _refuse_password(database: str | None) -> None:
    """Refuse a secret in the command line, which every user of the computer can read."""
    if database is not None and urlsplit(database).password:
        raise InvalidArgument(
            "The database's password would be shown to every user of this computer by ps.",
            advice="Give the URL by INNKEEPER_DATABASE or in the settings file, or use a .pgpass file.",
        )
