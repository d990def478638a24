"""A host that the service met in a former life, and that is away at its start, is known by its id."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import libvirt
import pytest
import sqlalchemy as sa

from innkeeper.server.app import make_app
from innkeeper.server.compose import open_house
from innkeeper.server.compose_relay import directory_keeper
from innkeeper.server.house import House
from innkeeper.server.settings import Settings
from tests.guests.machines import EMULATED
from tests.hypervisor.daemons import Daemon, a_home, until_it_answers
from tests.server.test_host_calls import as_root
from tests.store.conftest import database_url, postgres, postgres_database

__all__ = ["database_url", "postgres", "postgres_database"]

pytestmark = [
    pytest.mark.skipif(shutil.which("libvirtd") is None, reason="libvirtd is not installed"),
    pytest.mark.skipif(os.geteuid() == 0, reason="root's libvirtd is the system's"),
]

_DEFINITION = f"""
<domain type='{EMULATED}'>
  <name>web-1</name><memory unit='MiB'>64</memory><os><type>hvm</type></os>
</domain>"""
_BOOKING = {"machine": "web-1", "identifier": "u", "label": "l", "start": "2099-01-01T00:00:00Z"}


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    """A daemon in a directory of its own."""
    with a_home() as home:
        daemon = Daemon(home)
        daemon.start()
        yield daemon
        daemon.kill()


Life = Callable[[], contextlib.AbstractAsyncContextManager[tuple[House, httpx.AsyncClient]]]


@pytest.fixture
def life(daemon: Daemon, database_url: sa.URL, tmp_path: Path) -> Life:
    """What opens the service, and closes it again."""
    settings = Settings(
        state_dir=tmp_path / "state",
        socket=tmp_path / "s.sock",
        database=database_url.render_as_string(hide_password=False),
        hypervisors=(f"attic={daemon.uri}",),
        server_name="north",
    )

    @contextlib.asynccontextmanager
    async def live() -> AsyncIterator[tuple[House, httpx.AsyncClient]]:
        async with open_house(settings) as house:
            transport = httpx.ASGITransport(as_root(make_app(house)))
            async with httpx.AsyncClient(transport=transport, base_url="http://innkeeper") as door:
                yield house, door

    return live


async def test_a_host_that_is_away_after_a_restart_keeps_its_id_and_its_bookings(
    daemon: Daemon, life: Life
) -> None:
    """It is listed once, with the reason; and it is the same host when it is back."""
    await until_it_answers(daemon.uri)
    async with life() as (house, door):
        (host,) = (await door.get("/v1/hosts")).json()["hosts"]
        await asyncio.to_thread(_define, daemon.uri)
        await _until(lambda: _lists(door, "web-1"))
        assert (await door.post("/v1/updates", json=_BOOKING)).status_code == 201
        if house.neighbours is not None:
            await directory_keeper(house, house.neighbours).look()
    await asyncio.to_thread(daemon.kill)
    async with life() as (house, door):
        answer = (await door.get("/v1/hosts")).json()
        assert answer["hosts"] == []
        ((away),) = answer["away"]
        assert (away["name"], away["id"]) == ("attic", host["id"])
        assert "cannot be reached" in away["reason"] or "Failed to connect" in away["reason"], away
        (booking,) = (await door.get("/v1/updates")).json()["updates"]
        assert (booking["machine"], booking["key"].partition("/")[0]) == ("web-1", host["id"])
        assert booking["reason"]
        if house.neighbours is not None:
            (machine,) = (await door.get("/v1/machines")).json()["machines"]
            assert (machine["title"], machine["key"]) == ("web-1", booking["key"])
            assert machine["as_of"]
            assert [entry.host_id for entry in await house.neighbours.directory.hosts()] == [host["id"]]
        await asyncio.to_thread(daemon.start)
        await until_it_answers(daemon.uri)
        await _until(lambda: _lists(door, "web-1"))
        (again,) = (await door.get("/v1/hosts")).json()["hosts"]
        assert again["id"] == host["id"]


async def _until(fact: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await fact():
            await asyncio.sleep(0.1)


async def _lists(door: httpx.AsyncClient, name: str) -> bool:
    machines = (await door.get("/v1/machines")).json()["machines"]
    return [machine["name"] for machine in machines if machine["as_of"] is None] == [name]


def _define(uri: str) -> None:
    connect = libvirt.open(uri)
    connect.defineXML(_DEFINITION)
    connect.close()
