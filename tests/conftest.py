"""Run every test the same way: async tests on asyncio, and no blocked event loop.

An ``async def test_…`` needs no marker: anyio's pytest plugin runs it (``anyio_mode = "auto"``).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster, blockbuster_ctx

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
