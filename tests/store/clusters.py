"""Private clusters of PostgreSQL that tests stop, kill, pause and start again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa


def _programs() -> Path | None:
    """Where the newest PostgreSQL server is installed, if one is."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else None


def unprivileged() -> list[str]:
    """PostgreSQL refuses to run as root."""
    return ["runuser", "-u", "innkeeper", "--"] if os.geteuid() == 0 else []


class Cluster:
    """A private cluster, reached through a Unix socket alone."""

    def __init__(self, programs: Path, base: Path, options: str) -> None:
        self.base = base
        run = unprivileged()
        self._control: list[str | Path] = [*run, programs / "pg_ctl", "-D", base / "data", "-w"]
        self._options = f"-c listen_addresses='' -c unix_socket_directories={base} {options}"
        made: list[str | Path] = [*run, programs / "initdb", "-D", base / "data", "-A", "trust"]
        subprocess.run(
            [*made, "-U", "innkeeper", "-N", "-E", "UTF8"], check=True, capture_output=True, cwd="/"
        )

    @property
    def url(self) -> sa.URL:
        """Its maintenance database."""
        return sa.URL.create(
            "postgresql+psycopg", username="innkeeper", database="postgres", query={"host": str(self.base)}
        )

    def start(self) -> None:
        """Start it, and return when it takes connections."""
        command = [*self._control, "-l", self.base / "log", "-o", self._options, "start"]
        subprocess.run(command, check=True, capture_output=True, cwd="/")

    def stop(self, mode: str) -> None:
        """Stop it: ``fast`` ends every session, ``immediate`` is a crash."""
        subprocess.run([*self._control, "-m", mode, "stop"], check=True, capture_output=True, cwd="/")

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Stop every process of it where it stands, and let them go on afterwards."""
        processes = self._processes()
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                os.kill(process, signal.SIGCONT)

    @property
    def cpu_seconds(self) -> float:
        """Processor time of its processes, since its last start."""
        return sum(map(cpu_seconds_of, self._processes()))

    def _processes(self) -> list[int]:
        first = int((self.base / "data" / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        return [first, *map(int, children)]


def cpu_seconds_of(process: int) -> float:
    """Of a process, and of those of its children that have ended; nothing where it has ended itself."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return 0.0


@contextlib.contextmanager
def cluster(options: str = "-c fsync=off -c max_connections=200") -> Iterator[Cluster]:
    """A cluster for a while. Skips the test where PostgreSQL's server is not installed."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL's server is not installed")
    base = Path(tempfile.mkdtemp(prefix="innkeeper-postgres-"))
    base.chmod(0o777)
    made = Cluster(programs, base, options)
    made.start()
    try:
        yield made
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):  # a test may have left it stopped
            made.stop("immediate")
        shutil.rmtree(base, ignore_errors=True)


@contextlib.contextmanager
def fresh_database(url: sa.URL, name: str) -> Iterator[sa.URL]:
    """A new database of a cluster."""
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    yield url.set(database=name)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
    engine.dispose()
