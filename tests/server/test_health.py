"""Health tells of loops that fail, and the service stays ready while they are restarted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from innkeeper.disks.confined.child import shortcomings
from innkeeper.server.app import make_app
from innkeeper.server.compose import open_house
from innkeeper.server.compose_base import Overrides
from innkeeper.server.house import House
from innkeeper.server.routes.health import get_health
from innkeeper.server.settings import FakeSettings, Settings
from innkeeper.tasks.clock import FakeClock


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A simulated service whose time stands still."""
    settings = Settings(state_dir=tmp_path / "state", socket=tmp_path / "s", fake=FakeSettings(machines=2))
    async with open_house(settings, Overrides(clock=FakeClock())) as house:
        yield house


async def _readyz(house: House) -> tuple[int, str]:
    transport = httpx.ASGITransport(make_app(house))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        answer = await http.get("/readyz")
    return answer.status_code, answer.text


async def _break() -> None:
    raise RuntimeError("It broke.")


async def test_health_names_each_loop_of_the_service(house: House) -> None:
    """The trigger agent, the scheduler and the others, all of them well."""
    health = await get_health(house)
    names = {loop.name for loop in health.loops}
    assert {
        "trigger agent",
        "scheduler",
        "guest initialiser",
        "history retention",
        "undo watch",
        "watch over runs",
    } <= names
    assert health.ok
    assert await _readyz(house) == (200, "ready\n")


async def test_health_tells_what_the_computer_lacks_to_confine_programs(house: House) -> None:
    """In the sentences that the log has, and it is no fault of the service."""
    health = await get_health(house)
    assert health.unconfined == shortcomings()
    assert health.ok


async def test_a_loop_that_fails_is_shown_as_degraded(house: House) -> None:
    """In the health with its error, and for anybody by name."""
    task = house.loops.start("greeter of ghosts", _break)
    await house.clock.sleep(0)
    await house.clock.sleep(0)
    health = await get_health(house)
    (broken,) = [loop for loop in health.loops if not loop.ok]
    assert (broken.name, broken.failures, broken.detail) == ("greeter of ghosts", 1, "It broke.")
    assert not health.ok
    assert await _readyz(house) == (200, "ready\ndegraded: greeter of ghosts has failed and is restarted\n")
    task.cancel()
