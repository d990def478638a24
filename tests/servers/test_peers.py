"""Servers on one PostgreSQL take over from one another what they can reach, and nothing else."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.servers.peers import Peers, peers_in, until
from tests.serving import Service
from tests.store.conftest import postgres, postgres_database

pytestmark = pytest.mark.slow

__all__ = ["postgres", "postgres_database"]


@pytest.fixture
def peers(tmp_path: Path, postgres_database: sa.URL) -> Iterator[Peers]:
    """Services on one database."""
    with peers_in(tmp_path, postgres_database) as made:
        yield made


def owners(service: Service) -> dict[str, tuple[str, ...]]:
    """The hosts of each server that lives."""
    found = json.loads(service.run("server", "list", "--json").out)["servers"]
    return {each["name"]: tuple(each["hosts"]) for each in found if each["alive"]}


def update_of(service: Service, machine: str) -> dict[str, object]:
    """The booking of a machine, as a server tells it."""
    found = json.loads(service.run("update", "list", "--json").out)["updates"]
    return next(each for each in found if each["machine"] == machine)


def book(service: Service, machine: str) -> None:
    """Book an update of a machine, and let it begin."""
    assert service.run("window", "add", "now", "--now", "--for", "6h").code == 0
    booked = service.run("update", "book", machine, "--label", "Security", "--identifier", "one")
    assert booked.code == 0, booked


def test_an_update_of_a_paused_server_goes_on_where_its_host_is_reached(peers: Peers) -> None:
    """It is kept, and told so once; the paused server wakes, and does nothing more to the host."""
    first, second = peers.start("first"), peers.start("second")
    assert owners(second) == {"first": ("attic",), "second": ()}
    book(first, "web-1")
    until(lambda: update_of(second, "web-1")["task_id"] is not None)
    os.kill(first.pid, signal.SIGSTOP)
    try:
        until(lambda: owners(second).get("second") == ("attic",))
        until(lambda: update_of(second, "web-1")["verdict"] is not None)
    finally:
        os.kill(first.pid, signal.SIGCONT)
    until(lambda: owners(first) == {"first": (), "second": ("attic",)})
    found = update_of(first, "web-1")
    assert found["verdict"] == "kept", found
    task = json.loads(second.run("task", "show", str(found["task_id"]), "--json").out)
    assert task["error"] == 0, task
    assert peers.overlaps() == []


def test_an_update_whose_host_nobody_else_reaches_waits_for_its_server(peers: Peers) -> None:
    """It is no failure of the update: the server comes back, and goes on with it."""
    first, second = peers.start("first"), peers.start("second", first=2)
    book(first, "web-1")
    until(lambda: update_of(second, "web-1")["task_id"] is not None)
    first.kill()
    until(lambda: "first" not in owners(second))
    waiting = update_of(second, "web-1")
    assert waiting["verdict"] is None
    first.start()
    until(lambda: update_of(second, "web-1")["verdict"] is not None)
    assert update_of(second, "web-1")["verdict"] == "kept"
    assert owners(second) == {"first": ("attic",), "second": ("cellar",)}
    assert peers.overlaps() == []
