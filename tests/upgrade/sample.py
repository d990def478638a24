"""A state directory that a former release has left, put where a test can start today's service on it."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

#: Where the service kept its state when it was recorded (``record.py``).
_HOME = "/tmp/innkeeper-sample/state"
#: A base disk as a run recorded it: path, size, time of change, inode.
_BASE = re.compile(r'\["(?P<path>[^"]+)",(?P<size>\d+),"\d+",\d+,')


def put(release: str, name: str, state: Path) -> None:
    """Unpack a sample; what a move to another directory and another day changes is made good."""
    state.mkdir(parents=True)
    with tarfile.open(Path(__file__).parent / release / f"{name}.tar.xz") as archive:
        members = archive.getmembers()
        for member in members:
            _unpack(archive, member, state)
    for file in (state / "fake").rglob("*"):
        if file.is_file() and _HOME.encode() in (content := file.read_bytes()):
            file.write_bytes(content.replace(_HOME.encode(), str(state).encode()))
    for database in state.glob("*.sqlite"):
        with opened(database) as connection:
            _move(connection, str(state))
    with opened(journal(state)) as connection:
        _know_bases_again(connection)
    _stop_the_clock_meanwhile(state / "fake" / "clock.json", max(member.mtime for member in members))


def _unpack(archive: tarfile.TarFile, member: tarfile.TarInfo, state: Path) -> None:
    content = archive.extractfile(member)
    assert content is not None
    path = state / member.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.read())
    path.chmod(member.mode)


def journal(state: Path) -> Path:
    """The database that the runs are journalled in."""
    return state / "innkeeper-runs.sqlite"


@contextlib.contextmanager
def opened(database: Path) -> Iterator[sqlite3.Connection]:
    """A connection whose changes are committed at the end."""
    connection = sqlite3.connect(database)
    try:
        with connection:
            yield connection
    finally:
        connection.close()


def _move(connection: sqlite3.Connection, state: str) -> None:
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (table,) in tables:
        for column in connection.execute(f'PRAGMA table_info("{table}")').fetchall():
            name = column[1]
            connection.execute(
                f'UPDATE "{table}" SET "{name}" = replace("{name}", ?, ?) '
                f'WHERE typeof("{name}") = \'text\' AND instr("{name}", ?)',
                (_HOME, state, _HOME),
            )


def _know_bases_again(connection: sqlite3.Connection) -> None:
    """An unpacked file is another one by inode and time of change, which a run would rightly refuse."""
    rows = connection.execute("SELECT workflow_uuid, function_id, output FROM operation_outputs").fetchall()
    for workflow, number, output in rows:
        connection.execute(
            "UPDATE operation_outputs SET output = ? WHERE workflow_uuid = ? AND function_id = ?",
            (_BASE.sub(_as_it_lies_there, output or ""), workflow, number),
        )


def _as_it_lies_there(found: re.Match[str]) -> str:
    now = Path(found["path"]).stat()
    return f'["{found["path"]}",{found["size"]},"{now.st_mtime_ns}",{now.st_ino},'


def _stop_the_clock_meanwhile(file: Path, killed_at: float) -> None:
    """The simulated time goes on from the kill, and not from years later."""
    anchor = json.loads(file.read_text())
    simulated = anchor["simulated"] + (killed_at - anchor["real"]) * anchor["speed"]
    file.write_text(json.dumps({**anchor, "real": time.time(), "simulated": simulated}))
