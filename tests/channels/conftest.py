"""Give each test an inn with one guest."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.channels.rig import Inn, MemoryGuest, inn_of


@pytest.fixture
async def inn() -> AsyncIterator[Inn]:
    """An inn with the machine web-1."""
    async with inn_of("web-1") as inn:
        yield inn


@pytest.fixture
def guest(inn: Inn) -> MemoryGuest:
    """The guest of web-1."""
    return inn.guests["web-1"]
