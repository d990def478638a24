"""Servers on one PostgreSQL hand hosts over: one dies in the middle of a night, is drained, or retired."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.servers.peers import Peers, peers_in, until
from tests.serving import Service
from tests.store.conftest import postgres, postgres_database

pytestmark = pytest.mark.slow

__all__ = ["postgres", "postgres_database"]

#: What becomes of the machines of the host ``attic``: the update of one breaks a service there.
VERDICTS = {"db-1": "rolled_back", "web-1": "kept"}


@pytest.fixture
def peers(tmp_path: Path, postgres_database: sa.URL) -> Iterator[Peers]:
    """Services on one database."""
    with peers_in(tmp_path, postgres_database) as made:
        yield made


def servers(service: Service) -> dict[str, tuple[str, ...]]:
    """The hosts of each server, by what one of them tells."""
    found = json.loads(service.run("server", "list", "--json").out)["servers"]
    return {each["name"]: tuple(each["hosts"]) for each in found}


def verdicts(service: Service) -> dict[str, str | None]:
    """What became of all that is booked, by machine."""
    found = json.loads(service.run("update", "list", "--json").out)["updates"]
    return {each["machine"]: each["verdict"] for each in found}


def test_a_night_goes_on_at_the_stand_in_when_the_owner_is_killed(peers: Peers) -> None:
    """In the middle of its updates: each ends as it would have, and no host sees two servers act."""
    owner, stand_in = peers.start("owner"), peers.start("stand-in", stand_in_for="attic")
    assert servers(stand_in) == {"owner": ("attic",), "stand-in": ()}
    assert owner.run("window", "add", "now", "--now", "--for", "24h").code == 0
    assert owner.run("update", "book", "*", "--label", "Security", "--identifier", "night").code == 0
    with owner.connect() as inn:
        until(lambda: bool(list(inn.tasks)))
    owner.kill()
    until(lambda: servers(stand_in).get("stand-in") == ("attic",))
    until(lambda: None not in verdicts(stand_in).values())
    assert verdicts(stand_in) == VERDICTS
    owner.start()
    until(lambda: servers(owner) == {"owner": ("attic",), "stand-in": ()})
    assert peers.overlaps() == []


def test_a_drained_server_hands_its_host_over_and_is_retired(peers: Peers) -> None:
    """What only it reaches stays, with the reason; it is forgotten with the server."""
    first = peers.start("first", hosts=2)
    second = peers.start("second")
    assert servers(second) == {"first": ("attic", "cellar"), "second": ()}
    drained = first.run("server", "drain", "first", "--wait")
    assert drained.code == 0, drained
    until(lambda: servers(second) == {"first": ("cellar",), "second": ("attic",)})
    told = second.run("server", "list")
    assert "first keeps cellar. It stays: no other server" in " ".join((told.out + told.err).split())
    assert second.run("server", "retire", "first", "--yes").code == 0
    until(lambda: servers(second) == {"second": ("attic",)})
    hosts = json.loads(second.run("host", "list", "--json").out)
    assert [host["name"] for host in hosts["hosts"]] == ["attic"]
    assert hosts["away"] == []
    assert peers.overlaps() == []
