"""Run every test the same way: async tests on asyncio, and no blocked event loop.

An ``async def test_…`` needs no marker: anyio's pytest plugin runs it (``anyio_mode = "auto"``).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

from tests.serving import Service

#: Real guests, for every room's tests.
pytest_plugins = ("tests.guests.fixtures",)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The service runs on asyncio, and so do its tests."""
    return "asyncio"


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[BlockBuster]:
    """A call of ours that blocks the event loop raises ``BlockingError`` at the line that made it."""
    with blockbuster_ctx("innkeeper") as guard:
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
