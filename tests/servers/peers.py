"""Several services on one PostgreSQL, as processes, with simulated hosts."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import sqlalchemy as sa

from tests.serving import Service

#: Leases as short as they can be, so that a test need not wait for them.
LEASE_SECONDS = 5
#: Generous: the computer may be busy.
_WAIT_SECONDS = 120.0


@dataclasses.dataclass
class Peers:
    """Services on one database; the simulated hosts lie in one directory."""

    directory: Path
    database: sa.URL
    running: dict[str, Service] = dataclasses.field(default_factory=dict)

    @property
    def fleet(self) -> Path:
        """The directory of the simulated hosts."""
        return self.directory / "fleet"

    def make(self, name: str, *, first: int = 1, hosts: int = 1, stand_in_for: str = "") -> Service:
        """A service with these hosts by number; not started yet."""
        place = self.directory / name
        place.mkdir()
        settings = place / "innkeeper.toml"
        names = json.dumps([stand_in_for] if stand_in_for else [])
        settings.write_text(f"lease_seconds = {LEASE_SECONDS}\nstand_in_for = {names}\n")
        made = Service(place, machines=2, speed=60)
        made.add_arguments(
            "--hosts", str(hosts), "--first-host", str(first), "--fleet", str(self.fleet),
            "--server-name", name, "--config", str(settings),
            "--database", self.database.render_as_string(hide_password=False).replace("+psycopg", ""),
        )  # fmt: skip
        self.running[name] = made
        return made

    def start(self, name: str, *, first: int = 1, hosts: int = 1, stand_in_for: str = "") -> Service:
        """A service that runs."""
        made = self.make(name, first=first, hosts=hosts, stand_in_for=stand_in_for)
        made.start()
        return made

    def overlaps(self) -> list[str]:
        """What the hosts have seen of servers that acted where another did."""
        return [line for each in self.fleet.rglob("overlaps.jsonl") for line in each.read_text().splitlines()]


@contextlib.contextmanager
def peers_in(directory: Path, database: sa.URL) -> Iterator[Peers]:
    """Services that are ended with the test."""
    made = Peers(directory, database)
    try:
        yield made
    finally:
        for each in made.running.values():
            each.end()


def until(fact: Callable[[], bool]) -> None:
    """Wait for a fact."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while not fact():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.1)
