"""Show each place where a definition is not what the schema says."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import Final

import typer
from rich.text import Text

from innkeeper.cli.exit_codes import ExitCode
from innkeeper.cli.schedule.files import Files, Strict, read
from innkeeper.cli.terminal import Json, Session, session_of
from innkeeper.errors import InnkeeperError
from innkeeper.schedule.model.definition import deviations
from innkeeper.schedule.xml.deviation import Deviation
from innkeeper.schedule.xml.encoding import decode

#: As much of a line as fits on a narrow terminal.
_WIDTH: Final = 72


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(validate)


def validate(context: typer.Context, files: Files, strict: Strict = False, json: Json = False) -> None:
    r"""Print each place where a definition is not what the schema says. Needs no service.

    An error is refused at registration; a warning is mended by a lenient reader (innkeeper schedule import).

    Examples:

        innkeeper schedule validate night.xml

        innkeeper schedule validate --strict exported/*.xml
    """
    session = session_of(context)
    found: dict[Path, tuple[Deviation, ...]] = {}
    for path in files:
        data = read(path)
        found[path] = deviations(data)
        if not session.json:
            _print_places(session, path, data, found[path])
    if session.json:
        session.out.out(json_text.dumps(_as_json(found), indent=2, ensure_ascii=False))
    if any(strict or not place.forgiven for places in found.values() for place in places):
        raise typer.Exit(ExitCode.FAILED)


def _as_json(found: dict[Path, tuple[Deviation, ...]]) -> list[dict[str, object]]:
    return [
        {
            "file": str(path),
            "line": place.line,
            "column": place.column,
            "node": place.node,
            "value": place.value,
            "hresult": int(place.code),
            "code": place.code.name,
            "detail": place.sentence,
            "forgiven": place.forgiven,
        }
        for path, places in found.items()
        for place in places
    ]


def _print_places(session: Session, path: Path, data: bytes, places: tuple[Deviation, ...]) -> None:
    if not places:
        session.out.print(Text.assemble(f"{path}: ", ("valid", "green")))
        return
    lines = _lines(data)
    for place in places:
        style = "yellow" if place.forgiven else "bold red"
        weight = ("warning" if place.forgiven else "error", style)
        where = f"{path}:{place.line}:{place.column}: "
        message = f" {place.node}" + (f" “{place.value[:60]}”" if place.value else "")
        code = (f" [{place.code.name}]", "dim")
        session.out.print(Text.assemble(where, weight, message, f": {place.sentence}", code), soft_wrap=True)
        for text in _excerpt(lines, place, style):
            session.out.print(text, soft_wrap=True)


def _lines(data: bytes) -> list[str]:
    try:
        return decode(data)[0].split("\n")
    except InnkeeperError:
        return []


def _excerpt(lines: list[str], place: Deviation, style: str) -> list[Text]:
    """The line at fault, and a caret under the column; a long line is cut around it."""
    if not 1 <= place.line <= len(lines):
        return []
    line = "".join(each if each.isprintable() else " " for each in lines[place.line - 1])
    at = max(0, min(place.column - 1, len(line)))
    cut = max(0, at - _WIDTH // 2) if len(line) > _WIDTH else 0
    shown = line[cut : cut + _WIDTH]
    number = f"{place.line:>5} "
    return [
        Text.assemble((f"{number}| ", "dim"), ("…" if cut else "") + shown),
        Text.assemble((" " * len(number) + "| ", "dim"), " " * (at - cut + bool(cut)), ("^", style)),
    ]
