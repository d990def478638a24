"""Count the connections to PostgreSQL of many servers on one database, at rest and at work.

Run ``python -m benchmarks.connections``: as many simulated servers as ``--servers`` says, or as memory holds,
straight and behind PgBouncer in each of its modes, in transaction mode also with a direct address for events.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import sqlalchemy as sa

from innkeeper.wire.messages import WindowRequest
from tests.night.fleet import Peer
from tests.store import clusters
from tests.store.test_pgbouncer import bouncer, through

#: What a simulated server takes, with room for its work.
_SERVER_MIB = 250
_MOST_CONNECTIONS = 1000
_MACHINES = 4
#: Starts at once: each takes some seconds of a processor.
_AT_ONCE = 4
_REST_SECONDS = 20
_LOOKS = 20
_WORK_SECONDS = 30
_COUNT = sa.text(
    "select count(*) from pg_stat_activity where datname = current_database()"
    " and backend_type = 'client backend' and pid <> pg_backend_pid()"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shape:
    """How servers reach the database."""

    name: str
    #: PgBouncer's mode; empty for none.
    mode: str = ""
    direct_events: bool = False


_SHAPES = (
    Shape(name="straight"),
    Shape(name="PgBouncer, transaction mode", mode="transaction"),
    Shape(name="PgBouncer, transaction mode, events direct", mode="transaction", direct_events=True),
    Shape(name="PgBouncer, session mode", mode="session"),
)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--servers", type=int, default=_held_by_memory())
    parser.add_argument("--pool", type=int, default=20, help="connections that PgBouncer has")
    parser.add_argument(
        "--shapes", nargs="*", type=int, default=range(len(_SHAPES)), help="by number, from 0"
    )
    given = parser.parse_args()
    print("| | at rest: mean, most | at work: mean, most | verdicts |\n|---|---|---|---|")
    for number in given.shapes:
        shape = _SHAPES[number]
        rest, work, verdicts = _measured(shape, given.servers, given.pool)
        print(
            f"| {given.servers} servers, {shape.name} | {_told(rest)} | {_told(work)} | {verdicts} |",
            flush=True,
        )


def _held_by_memory() -> int:
    pages = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(2, min(100, (pages >> 20) // _SERVER_MIB))


def _told(counts: Sequence[int]) -> str:
    return f"{statistics.mean(counts):.0f}, {max(counts)}"


def _measured(shape: Shape, servers: int, pool: int) -> tuple[Sequence[int], Sequence[int], str]:
    options = f"-c max_connections={_MOST_CONNECTIONS}"
    with (
        tempfile.TemporaryDirectory(prefix="ik-") as directory,
        clusters.cluster(options) as cluster,
        clusters.fresh_database(cluster.url, "bench") as database,
        _reached(shape, database, pool) as address,
    ):
        engine = sa.create_engine(database)
        peers = [
            Peer(
                f"s-{number}",
                _command(Path(directory), number, shape, address, database),
                Path(directory) / f"s-{number}",
            )
            for number in range(1, servers + 1)
        ]
        try:
            # The tables are the first one's to make: behind a pooler nothing keeps two from it.
            peers[0].start()
            peers[0].connect().close()
            for first in range(1, servers, _AT_ONCE):
                for peer in (some := peers[first : first + _AT_ONCE]):
                    peer.start()
                for peer in some:
                    peer.connect().close()
            time.sleep(_REST_SECONDS)
            rest = _looks(engine, 0.5)
            _begin_work(peers)
            work = _looks(engine, _WORK_SECONDS / _LOOKS)
            return rest, work, _verdicts(engine)
        finally:
            for peer in peers:
                with contextlib.suppress(AssertionError, OSError):
                    peer.end(signal.SIGKILL)
            engine.dispose()


@contextlib.contextmanager
def _reached(shape: Shape, database: sa.URL, pool: int) -> Iterator[sa.URL]:
    if not shape.mode:
        yield database
        return
    more = f"pool_mode = {shape.mode}\nmax_client_conn = {_MOST_CONNECTIONS}"
    size = pool if shape.mode == "transaction" else _MOST_CONNECTIONS
    with bouncer(str(database.query["host"]), size=size, more=more) as folder:
        yield through(database, folder)


def _command(directory: Path, number: int, shape: Shape, address: sa.URL, database: sa.URL) -> Sequence[str]:
    state = directory / f"s-{number}"
    settings = directory / "settings.toml"
    if shape.direct_events:
        settings.write_text(f'database_events = "{_plain(database)}"\n')
    else:
        settings.touch()
    return [
        sys.executable, "-m", "innkeeper.cli", "--socket", str(state / "s.sock"), "serve", "--fake",
        "--hosts", "1", "--first-host", str(number), "--machines", str(_MACHINES), "--speed", "20",
        "--fleet", str(directory / "fleet"), "--server-name", state.name, "--database", _plain(address),
        "--state-dir", str(state), "--config", str(settings), "--log-text",
    ]  # fmt: skip


def _plain(url: sa.URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def _looks(engine: sa.Engine, pause: float) -> Sequence[int]:
    """How many connections there are, again and again."""
    found = []
    for _ in range(_LOOKS):
        with engine.connect() as connection:
            found.append(int(connection.scalar(_COUNT) or 0))
        time.sleep(pause)
    return found


def _begin_work(peers: Sequence[Peer]) -> None:
    """Book an update of every machine, at one door for all, and open a window."""
    with peers[0].connect() as inn:
        list(inn.machines.select("all").book_updates(label="Night", identifier="n"))
        now = inn.read().now
        inn.windows.add(
            WindowRequest(
                name="n",
                opens_at=now.time().replace(second=0, microsecond=0, tzinfo=None),
                dates=(now.date(),),
                duration_seconds=12 * 3600,
            )
        )


def _verdicts(engine: sa.Engine) -> str:
    query = "select coalesce(verdict, 'none'), count(*) from bookings group by 1 order by 1"
    with engine.connect() as connection:
        return ", ".join(f"{verdict} {count}" for verdict, count in connection.exec_driver_sql(query))


if __name__ == "__main__":
    main()
