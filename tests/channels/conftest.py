"""Give each test an inn with one guest."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.channels.rig import Inn, MemoryGuest, inn_of


@pytest.fixture(params=["awaited", "heard at once"])
async def inn(request: pytest.FixtureRequest) -> AsyncIterator[Inn]:
    """An inn with the machine web-1, by either kind of pipe."""
    async with inn_of("web-1", quick=request.param == "heard at once") as inn:
        yield inn


@pytest.fixture
def guest(inn: Inn) -> MemoryGuest:
    """The guest of web-1."""
    return inn.guests["web-1"]
