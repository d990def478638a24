"""Run every test the same way: async tests on asyncio, and no blocked event loop.

An ``async def test_…`` needs no marker: anyio's pytest plugin runs it (``anyio_mode = "auto"``).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from innkeeper.hypervisor.simulated.files import FakeFiles
from innkeeper.hypervisor.simulated.simulation import Simulation
from innkeeper.schedule.calendar import zone_database
from tests.serving import Service

# How long an example takes is no promise of ours, and says nothing on a busy computer.
hypothesis.settings.register_profile(
    "innkeeper", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("innkeeper")

#: Real guests, for every room's tests.
pytest_plugins = ("tests.guests.fixtures",)

#: Where a simulated host without threads does what it else does in one.
_THREADLESS = (Simulation.blocking, FakeFiles._run)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The service runs on asyncio, and so do its tests."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def _zones() -> None:
    """Read the time zones, as the service does when it starts."""
    zone_database.load()


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """A call of ours that blocks the event loop raises ``BlockingError`` at the line that made it.

    Only a simulated host that was made without threads, for its clock to be exact, may read its tiny files.
    """
    with blockbuster_ctx("innkeeper") as guard:
        for function, threadless in itertools.product(guard.functions.values(), _THREADLESS):
            function.can_block_in(threadless.__code__.co_filename, threadless.__code__.co_name)
        yield guard


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A real service with simulated machines, shared by the tests of the doors, which leave it as it was."""
    running = Service(tmp_path_factory.mktemp("inn"), machines=12, speed=120)
    running.start()
    yield running
    running.end()


@pytest.fixture
def own_service(tmp_path: Path) -> Iterator[Service]:
    """A service that one test may do with as it likes; not started yet."""
    mine = Service(tmp_path, speed=120)
    yield mine
    mine.end()
