"""Health tells of loops that fail, and the service stays ready while they are restarted."""

from __future__ import annotations

import asyncio
import types
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from innkeeper.disks.confined.child import shortcomings
from innkeeper.server.app import make_app
from innkeeper.server.compose import open_house
from innkeeper.server.compose_base import Overrides
from innkeeper.server.house import House
from innkeeper.server.routes.health import TIMEOUT_SECONDS, get_health
from innkeeper.server.settings import FakeSettings, Settings
from innkeeper.server.shared_look import SharedLook
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


async def test_probes_of_anybody_cost_one_look(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many ask at once, and one after the other within two seconds."""
    looks = 0
    probe = house.database.probe

    async def counted() -> None:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0.05)
        await probe()

    monkeypatch.setattr(house.database, "probe", counted)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(make_app(house)), base_url="http://h") as http:
        answers = await asyncio.gather(*(http.get("/readyz") for _ in range(50)))
        assert {each.status_code for each in answers} == {200}
        assert (await http.get("/readyz")).text == "ready\n"
    assert looks == 1


async def test_a_look_is_made_again_once_it_is_old_or_has_failed() -> None:
    """And goes on for the others when the one who began it goes."""
    looks = 0

    async def look() -> int:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0.05)
        if looks == 1:
            raise RuntimeError("It broke.")
        return looks

    shared = SharedLook(look, believed_seconds=0.2)
    with pytest.raises(RuntimeError):
        await shared()
    first, second = asyncio.create_task(shared()), asyncio.create_task(shared())
    await asyncio.sleep(0)
    first.cancel()
    assert await second == 2
    assert await shared() == 2
    await asyncio.sleep(0.25)
    assert await shared() == 3


async def test_a_host_that_hangs_holds_up_no_probe(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another answers."""
    hung = asyncio.Event()

    class Hung:
        name, uri = "cellar", "fake:cellar"
        inventory = types.SimpleNamespace(list=hung.wait)

    hosts = {"cellar": Hung(), **house.machines.hosts}
    monkeypatch.setattr(type(house.machines), "hosts", property(lambda _: hosts))
    async with asyncio.timeout(TIMEOUT_SECONDS / 2):
        assert await _readyz(house) == (200, "ready\n")
