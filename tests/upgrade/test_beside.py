"""A server of a former release beside one of this release, as processes on one PostgreSQL.

``INNKEEPER_FORMER`` names a checkout of that release, whose dependencies are those of this one:

    git worktree add /tmp/former v0.1.0
    INNKEEPER_FORMER=/tmp/former pytest tests/upgrade/test_beside.py
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.servers.peers import Peers, peers_in, until
from tests.serving import Service
from tests.store.conftest import postgres, postgres_database

FORMER = Path(os.environ.get("INNKEEPER_FORMER", ""))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif("INNKEEPER_FORMER" not in os.environ, reason="INNKEEPER_FORMER names no checkout"),
]

__all__ = ["postgres", "postgres_database"]

_OWNERS = {"first": ["attic"], "second": ["cellar"]}
#: Releases from before servers owned hosts cannot be beside others.
HAS_LEASES = (FORMER / "src/innkeeper/store/leases.py").exists()


@pytest.fixture
def peers(tmp_path: Path, postgres_database: sa.URL) -> Iterator[Peers]:
    """Services on one database."""
    with peers_in(tmp_path, postgres_database) as made:
        yield made


def _of_the_former_release(service: Service) -> Service:
    service.environment = {"PYTHONPATH": str(FORMER / "src")}
    return service


def _as_json(service: Service, *command: str) -> dict[str, list[dict[str, object]]]:
    done = service.run(*command, "--json")
    assert done.code == 0, done
    found: dict[str, list[dict[str, object]]] = json.loads(done.out)
    return found


def _verdicts(service: Service) -> dict[object, object]:
    return {each["machine"]: each["verdict"] for each in _as_json(service, "update", "list")["updates"]}


def _owners(service: Service) -> dict[object, object]:
    found = _as_json(service, "server", "list")["servers"]
    return {each["name"]: each["hosts"] for each in found if each["alive"]}


def _machines(service: Service) -> dict[str, str]:
    """A machine of each host."""
    return {str(each["host"]): str(each["name"]) for each in _as_json(service, "machine", "list")["machines"]}


def _book(service: Service, machine: str) -> None:
    done = service.run("update", "book", machine, "--label", "Security", "--identifier", "one")
    assert done.code == 0, done


@pytest.mark.skipif(not HAS_LEASES, reason="its servers own no hosts")
def test_servers_of_two_releases_do_their_work_beside_each_other(peers: Peers) -> None:
    """Each through the other's door; then the former one is drained, and started again as this release."""
    first = _of_the_former_release(peers.make("first"))
    first.start()
    assert first.run("window", "add", "now", "--now", "--for", "6h").code == 0
    second = peers.start("second", first=2)
    both = (first, second)
    until(lambda: all(_owners(each) == _OWNERS for each in both))
    until(lambda: _machines(first) == _machines(second) and len(_machines(first)) == 2)
    _book(second, _machines(first)["attic"])
    _book(first, _machines(first)["cellar"])
    until(lambda: all(set(_verdicts(each).values()) == {"kept"} for each in both))
    assert second.run("server", "drain", "first", "--wait").code == 0
    assert first.stop() == 0
    first.environment = {}
    first.start()
    assert first.run("server", "join", "first").code == 0
    until(lambda: _owners(second) == _OWNERS)
    assert set(_verdicts(first).values()) == {"kept"}
    assert peers.overlaps() == []


@pytest.mark.skipif(HAS_LEASES, reason="its servers own hosts, and may be beside others")
def test_a_server_from_before_leases_has_to_be_stopped_first(peers: Peers, tmp_path: Path) -> None:
    """It knows nothing of owners, and would write over others' bookings: the new one says so, and ends."""
    old = tmp_path / "old"
    old.mkdir()
    former = Service(old)
    former.add_arguments(
        "--database", peers.database.render_as_string(hide_password=False).replace("+psycopg", "")
    )
    peers.running["old"] = _of_the_former_release(former)
    former.start()
    second = peers.make("second")
    with pytest.raises(AssertionError, match="cannot be beside this one"):
        second.start()
    assert former.run("machine", "list").code == 0
    assert former.stop() == 0
    second.start()
    with pytest.raises(AssertionError, match="newer release"):
        former.start()
