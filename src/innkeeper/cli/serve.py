"""Run the service."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import parse_qs

import typer

from innkeeper.cli.terminal import session_of
from innkeeper.errors import InvalidArgument

#: What libpq takes for a secret in the query of a URL.
_SECRET_PARAMETERS = frozenset({"password", "sslpassword"})
#: An account with its password, in which brackets, slashes and question marks may stand as they are.
_WITH_PASSWORD = re.compile(r"[^:/]*:[^@]+@")


def add_to(app: typer.Typer) -> None:
    """Put the command under the root."""
    app.command()(serve)


def serve(
    context: typer.Context,
    machines: Annotated[
        int | None, typer.Argument(metavar="[N]", help="With --fake: how many simulated machines.", min=1)
    ] = None,
    fake: Annotated[bool, typer.Option("--fake", help="Simulate machines: nothing real is touched.")] = False,
    each: Annotated[
        int | None, typer.Option("--machines", help="With --fake: the same as [N], for each host.", min=1)
    ] = None,
    hosts: Annotated[
        int | None, typer.Option(help="With --fake: how many hosts, called attic, cellar …", min=1)
    ] = None,
    first_host: Annotated[
        int | None, typer.Option(help="With --fake: the number of the first one; others have those before.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="With --fake: what everything made up follows from.")
    ] = None,
    fleet: Annotated[
        Path | None,
        typer.Option(
            help="With --fake: the directory of hosts and clock, for several servers. A line “cellar hung” "
            "in its file “failures” makes a host fail (away, hung, slow, full, flapping); “none” ends it."
        ),
    ] = None,
    failures: Annotated[
        float | None,
        typer.Option("--failures", help="With --fake: failures of each host in a day, by the seed.", min=0),
    ] = None,
    ledger: Annotated[
        bool, typer.Option("--ledger", help="With --fake: write down every act, in ledger.jsonl of its host.")
    ] = False,
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
    server_name: Annotated[
        str | None, typer.Option(help="This server's name among those that share a database.")
    ] = None,
    database: Annotated[str | None, typer.Option(help="The database's URL; SQLite if left out.")] = None,
    log_json: Annotated[
        bool | None, typer.Option("--log-json/--log-text", help="Log lines as JSON or as text.")
    ] = None,
) -> None:
    """Run the service until it is told to stop (Ctrl-C, or SIGTERM)."""
    # Only here: the other commands need nothing of the server, and start quicker without it.
    from innkeeper.server import service, settings

    wanted = {
        "machines": machines if each is None else each,
        "hosts": hosts,
        "first_host": first_host,
        "seed": seed,
        "fleet": fleet,
        "failures_a_day": failures,
        "ledger": ledger or None,
        "speed": speed,
        "lively": lively or None,
    }
    simulated = {name: value for name, value in wanted.items() if value is not None}
    if simulated and not fake:
        names = ", ".join(sorted(simulated)).replace("_", " ")
        raise InvalidArgument(f"These go with simulated machines only: {names}.", advice="Add --fake.")
    _refuse_password(database)
    flags = {
        "socket": session_of(context).socket,
        "state_dir": state_dir,
        "listen": tuple(listen) if listen else None,
        "tls_certificate": tls_certificate,
        "tls_key": tls_key,
        "hypervisors": tuple(hypervisor) if hypervisor else None,
        "server_name": server_name,
        "database": database,
        "log_json": log_json,
        "fake": simulated if fake else None,
    }
    service.run(settings.load(file=config, flags=flags))


def _refuse_password(database: str | None) -> None:
    """Refuse a secret in the command line, which every user of the computer can read."""
    if database is not None and _names_password(database):
        raise InvalidArgument(
            "The database's password would be shown to every user of this computer by ps.",
            advice="Give the URL by INNKEEPER_DATABASE or in the settings file, or use a .pgpass file.",
        )


def _names_password(url: str) -> bool:
    """Whether a password stands in it, before the host or among the parameters, as SQLAlchemy reads it."""
    address = url.partition("://")[2]
    if _WITH_PASSWORD.match(address):
        return True
    return not _SECRET_PARAMETERS.isdisjoint(parse_qs(address.partition("?")[2]))
