"""Passwords that definitions name but do not contain, in files that only the service reads."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from innkeeper.errors import ErrorCode, ScheduleError

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_LONGEST: Final = 4096


class SecretFiles:
    """One secret a file: systemd's credentials first, then those in the state directory."""

    def __init__(self, directories: Sequence[Path]) -> None:
        self._directories = tuple(directories)

    def find(self, name: str) -> str | None:
        """Return the secret of a name, without its file's line end; ``None`` where missing. Blocks.

        Raises ``ScheduleError`` for a file that others can read: what it holds is no secret any more.
        """
        if not _NAME.fullmatch(name):
            return None
        for directory in self._directories:
            path = directory / name
            try:
                with path.open("rb") as file:
                    if os.fstat(file.fileno()).st_mode & (stat.S_IRWXO | stat.S_IWGRP):
                        raise _open_to_all(path)
                    return file.read(_LONGEST).decode().rstrip("\r\n")
            except FileNotFoundError:
                continue
            except (OSError, UnicodeDecodeError) as problem:
                raise ScheduleError(
                    f"The secret {name} cannot be read from {path}.", code=ErrorCode.E_ACCESSDENIED
                ) from problem
        return None


def directories(state_dir: Path) -> tuple[Path, ...]:
    """Return the directories of secrets."""
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    return (*((Path(credentials),) if credentials else ()), state_dir / "secrets")


def _open_to_all(path: Path) -> ScheduleError:
    return ScheduleError(
        f"The secret in {path} can be read by everybody, or changed by its group.",
        code=ErrorCode.E_ACCESSDENIED,
        advice=f"Run chmod 600 {path}, and change the password that it holds.",
    )
