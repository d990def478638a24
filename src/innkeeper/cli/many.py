"""Act on the machines of a selector, and print a line for each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, NoReturn

import typer
from rich.text import Text

from innkeeper.cli.exit_codes import ExitCode
from innkeeper.cli.terminal import Session
from innkeeper.wire.bulk import BulkLine, BulkOutcome

#: What a selector may be, for the help of commands.
SELECTOR_HELP = "A name, a glob, or such as 'label:web and not host:attic'."

Select = Annotated[str, typer.Argument(metavar="SELECTOR", help=f"These machines. {SELECTOR_HELP}")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only tell what would be done, to which machines.")]
AllowEmpty = Annotated[
    bool,
    typer.Option(
        "--allow-empty", help="Take a selector too that matches no machine, or has a word that names none."
    ),
]

_SELECTOR = re.compile(r"[*?\[:]|^all$|(^|\s)(and|or|not)\s", re.IGNORECASE)
_STYLES = {BulkOutcome.DONE: "green", BulkOutcome.REFUSED: "red", BulkOutcome.PLANNED: "cyan"}


def is_selector(text: str) -> bool:
    """Whether a text means machines by a selector, and is no plain name."""
    return _SELECTOR.search(text) is not None


def print_lines(session: Session, lines: Iterable[BulkLine]) -> NoReturn:
    """Print what became of each machine as it comes; the exit code says whether any was refused."""
    counts = dict.fromkeys(BulkOutcome, 0)
    for line in lines:
        counts[line.outcome] += 1
        if session.json:
            session.out.out(line.model_dump_json())
        else:
            session.out.print(_say(line))
    told = (f"{count:,} {outcome}" for outcome, count in counts.items() if count)
    session.note(", ".join(told) or "No machine.")
    raise typer.Exit(ExitCode.REFUSED if counts[BulkOutcome.REFUSED] else ExitCode.DONE)


def _say(line: BulkLine) -> Text:
    what = f"  {line.identifier}" if line.identifier else ""
    reason = f"  {line.reason}" if line.reason else ""
    return Text.assemble(f"{line.machine}{what}  ", (line.outcome.value, _STYLES[line.outcome]), reason)
