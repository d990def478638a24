"""Read task definitions from files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from innkeeper.errors import ErrorCode, ScheduleError
from innkeeper.schedule.xml.encoding import LONGEST_CHARACTERS

#: One byte more than any definition has: reading it is enough to know that a file is too large.
_ENOUGH_BYTES: Final = 4 * LONGEST_CHARACTERS + 1

Files = Annotated[
    list[Path], typer.Argument(metavar="FILE…", help="Task definitions, as Windows exports them.")
]
TaskPath = Annotated[str, typer.Argument(metavar="TASK", help=r"The task's path: '\Nightly\Compact'.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="Also fail on deviations that a lenient reader corrects.")
]


def read(path: Path) -> bytes:
    """The bytes of a file, or as many as show that it is too large. Raises ``ScheduleError``."""
    try:
        with path.open("rb") as file:
            return file.read(_ENOUGH_BYTES)
    except (OSError, ValueError) as problem:  # a name with a null character is a ValueError
        raise ScheduleError(
            f"{path} cannot be read: {getattr(problem, 'strerror', None) or problem}.",
            code=ErrorCode.ERROR_FILE_NOT_FOUND,
            advice="Name a file that is there and that you may read.",
        ) from problem
