"""Read the audit log, and see that nobody has changed it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from innkeeper.cli.exit_codes import ExitCode
from innkeeper.cli.terminal import Json, session_of, table
from innkeeper.cli.times import parse_moment
from innkeeper.errors import InvalidArgument
from innkeeper.wire.audit import AuditEntry

app = typer.Typer(name="audit", help="Read the audit log, and check it.", no_args_is_help=True)

_STYLES = {"refused": "yellow", "failed": "red"}


@app.command("list")
def list_audit(
    context: typer.Context,
    who: Annotated[str | None, typer.Option(help="Only what this person did: ana@LAB.")] = None,
    action: Annotated[str | None, typer.Option(help="Only this operation: command_machine.")] = None,
    on: Annotated[str | None, typer.Option(help="Only what was done on this: 'machine web-1'.")] = None,
    since: Annotated[str | None, typer.Option(help="Only from this moment on.")] = None,
    limit: Annotated[int, typer.Option(help="How many, the newest.", min=1, max=1000)] = 50,
    json: Json = False,
) -> None:
    """List who did what, newest last."""
    session = session_of(context)
    moment = parse_moment(since, session.now, session.tz) if since else None
    found = session.inn.audit.list(who=who, action=action, on=on, since=moment, limit=limit)
    if session.json:
        session.answer(found)
        return
    made = table("No", "WHEN", "WHO", "FROM", "WHAT", "ON", "ENDED", right=("No",))
    for entry in reversed(found.entries):
        made.add_row(
            str(entry.number),
            session.moment(entry.at),
            Text(entry.who),
            Text(entry.address),
            Text(entry.action),
            Text(_about(entry)),
            Text(_ended(entry), style=_STYLES.get(entry.outcome, "")),
        )
    session.out.print(made)


@app.command()
def verify(
    context: typer.Context,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER:SEAL",
            help="A head of the log that you kept elsewhere: shows whether the whole log was forged.",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """See whether an entry was changed, removed or moved since it was written."""
    session = session_of(context)
    number, seal = _head(against)
    verdict = session.inn.audit.verify(number, seal)
    if session.json:
        session.answer(verdict)
    elif verdict.ok:
        session.out.print(Text(f"The log is whole: {verdict.number:,} entries."))
        session.out.print(
            Text(f"Keep this in another place, for --against: {verdict.number}:{verdict.seal}"),
            soft_wrap=True,
        )
    else:
        session.out.print(
            Text(f"Entry {verdict.broken_at} is not as it was written. {verdict.reason}", style="red")
        )
    if not verdict.ok:
        raise typer.Exit(ExitCode.FAILED)


@app.command()
def export(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="[FILE]", help="Where to write it; - for standard output.")
    ] = Path("-"),
) -> None:
    """Write the whole log, oldest first, as one JSON object a line."""
    session = session_of(context)
    lines = session.inn.audit.export()
    if str(file) == "-":
        sys.stdout.buffer.write(lines)
        return
    file.write_bytes(lines)
    session.note(f"The log is in {file}.")


def _about(entry: AuditEntry) -> str:
    """On what it was done, or what it was about; the request itself where nothing else is known."""
    noted = entry.detail if entry.outcome == "done" else ""
    return entry.on or noted


def _ended(entry: AuditEntry) -> str:
    return f"{entry.outcome} (of {entry.act})" if entry.act is not None else entry.outcome


def _head(text: str | None) -> tuple[int | None, str | None]:
    if text is None:
        return None, None
    number, colon, seal = text.partition(":")
    if not colon or not number.isdecimal() or len(seal) != 64:
        raise InvalidArgument(
            "This is not a head of the audit log.",
            advice="Give what `innkeeper audit verify` has printed: NUMBER:SEAL.",
        )
    return int(number), seal
