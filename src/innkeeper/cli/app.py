"""Gather the commands under ``innkeeper``, and end each with its exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, cast

import typer

from innkeeper.cli.exit_codes import ExitCode, of_error
from innkeeper.cli.lazy import LazyGroup
from innkeeper.cli.nouns import NOUNS
from innkeeper.cli.terminal import Session, session_of
from innkeeper.cli.times import parse_zone
from innkeeper.errors import InnkeeperError, InvalidArgument


class Innkeeper(LazyGroup):
    """The root of all commands: the one place where an error becomes an exit code."""

    parts: ClassVar = NOUNS

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]  # typer keeps its context's base to itself
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except InnkeeperError as error:
            session_of(ctx).complain(error)
            raise typer.Exit(of_error(error)) from error
        except KeyboardInterrupt as interrupt:
            raise typer.Exit(ExitCode.INTERRUPTED) from interrupt
        except BrokenPipeError as pipe:  # `innkeeper machine list | head`
            raise typer.Exit(ExitCode.DONE) from pipe
        except (OSError, OverflowError, UnicodeEncodeError) as unfit:  # files and numbers that were named
            session_of(ctx).complain(_unfit(unfit))
            raise typer.Exit(ExitCode.USAGE) from unfit


def _unfit(error: OSError | OverflowError | UnicodeEncodeError) -> InvalidArgument:
    if isinstance(error, OSError):
        place = f"{error.filename} cannot be used" if error.filename else "A file cannot be used"
        return InvalidArgument(f"{place}: {error.strerror or error}.")
    if isinstance(error, UnicodeEncodeError):
        return InvalidArgument(f"{error.object!r} is not Unicode text.")
    return InvalidArgument(
        "A number or a time is too large, or leads beyond the years 1 to 9999.",
        advice="Look at the numbers and times that you gave.",
    )


app = typer.Typer(
    cls=Innkeeper,
    name="innkeeper",
    help="Look after the virtual machines on this host: unattended, safe maintenance at night.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def root(
    context: typer.Context,
    socket: Annotated[
        Path | None,
        typer.Option(help="The service's socket, if it is not in a usual place.", envvar="INNKEEPER_SOCKET"),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(
            metavar="HOST[:PORT]",
            help="Use the service on this computer over the network; log in there first.",
            envvar="INNKEEPER_SERVER",
        ),
    ] = None,
    zone: Annotated[
        str | None,
        typer.Option(help="The time zone to read and show times in.", envvar="INNKEEPER_ZONE"),
    ] = None,
) -> None:
    """Look after the virtual machines on this host: unattended, safe maintenance at night."""
    session = context.ensure_object(Session)
    session.socket = socket
    session.server = server
    session.zone = parse_zone(zone) if zone else None


def whole() -> LazyGroup:
    """The root with all its commands imported, for whoever reads the whole tree."""
    tree = cast(LazyGroup, typer.main.get_command(app))
    tree.load_all()
    return tree
