"""Take a password from a prompt, a file or standard input: never from the command line, which others see."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from innkeeper.errors import ErrorCode, InvalidArgument

#: ``--password-file``, on every command that takes one.
PasswordFile = Annotated[
    Path | None,
    typer.Option("--password-file", help="Read the password from this file, or from standard input with -."),
]


def take_password(what: str, file: Path | None, *, confirm: bool = False) -> str:
    """The password; asked for at the terminal where no file is given."""
    if file is not None:
        return _first_line(sys.stdin.read() if str(file) == "-" else _read(file))
    if not sys.stdin.isatty():
        raise InvalidArgument(
            f"{what} cannot be asked for: there is no terminal.",
            advice="Give it with --password-file FILE, or --password-file - for standard input.",
        )
    password: str = typer.prompt(what, hide_input=True, confirmation_prompt=confirm, err=True)
    return password


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, ValueError) as error:
        raise InvalidArgument(
            f"The password file {file} cannot be read.",
            code=ErrorCode.ERROR_FILE_NOT_FOUND,
            advice="Name a text file whose first line is the password.",
        ) from error


def _first_line(text: str) -> str:
    return text.partition("\n")[0].removesuffix("\r")
