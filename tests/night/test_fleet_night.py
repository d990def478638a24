"""A night of several servers on one PostgreSQL, of which one is killed, and the database with it."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.night.fleet import FleetNight, Plan
from tests.store import clusters
from tests.store.clusters import Cluster

#: None of its first machines takes ten times as long as the others, or never ends.
_SEED = 1884
_HOSTS, _MACHINES = 4, 2


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL that dies."""
    with clusters.cluster() as cluster:
        yield cluster


@pytest.fixture
def database(cluster: Cluster) -> Iterator[sa.URL]:
    """Its database of this night."""
    with clusters.fresh_database(cluster.url, "night") as url:
        yield url


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with a name so short that sockets find room in it."""
    folder = Path(tempfile.mkdtemp(prefix="ik-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_a_night_of_two_servers_loses_and_doubles_nothing(
    cluster: Cluster, database: sa.URL, place: Path
) -> None:
    """A server is killed in it, and PostgreSQL crashes: each update has a verdict, and was done once."""
    plan = Plan(
        hosts=_HOSTS,
        machines=_MACHINES,
        peers=2,
        speed=120,
        kill_minutes=3,
        most_kills=1,
        database_restarts=1,
        seed=_SEED,
    )
    outcome = FleetNight(plan, place, cluster, database).run()
    assert outcome.kills == 1
    assert (outcome.outside, outcome.doubled, outcome.lost, outcome.overlaps) == (0, 0, 0, 0), outcome
    assert (outcome.waiting, sum(outcome.verdicts.values())) == (0, outcome.machines), outcome
    assert outcome.machines == _HOSTS * _MACHINES
