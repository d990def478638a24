"""The state directory as a proof: who alone has it open follows whoever had it before."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import uuid
from pathlib import Path
from typing import Final

_FILE: Final = "server.id"
_MACHINE_ID: Final = Path("/etc/machine-id")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Home:
    """A state directory that this process alone has open."""

    #: What tells it from every other, a copy on another computer too; empty where nothing is proved.
    name: str
    _file: int | None = None

    def close(self) -> None:
        """Unlock the directory, as the end of the process does."""
        if self._file is not None:
            os.close(self._file)


def claim_home(state_dir: Path) -> Home:
    """Lock the state directory's id, which is made at the first start. Blocks.

    Where it cannot be locked nothing is proved: the server waits for its name's time to run out then.
    """
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(state_dir / _FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return Home(name="")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return Home(name=_name(file), _file=file)
    except OSError:
        os.close(file)
        return Home(name="")


def _name(file: int) -> str:
    own = os.pread(file, 64, 0).decode(errors="replace").strip()
    if not own:
        own = str(uuid.uuid4())
        os.pwrite(file, f"{own}\n".encode(), 0)
    # A copy has the same text, and is another file or on another computer.
    where = os.fstat(file)
    computer = ""
    with contextlib.suppress(OSError):
        computer = _MACHINE_ID.read_text().strip()
    return f"{own} {computer} {where.st_dev}:{where.st_ino}"
