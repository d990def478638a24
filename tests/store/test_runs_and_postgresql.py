"""Update runs in flight go on where PostgreSQL is stopped, crashes or stands still under them."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from innkeeper.errors import StoreAway
from innkeeper.server.app import make_app
from innkeeper.server.compose import open_house
from innkeeper.server.compose_base import Overrides
from innkeeper.server.fake_time import simulated_time
from innkeeper.server.house import House
from innkeeper.server.http.problems import response_of
from innkeeper.server.settings import FakeSettings, Settings
from innkeeper.tasks.patience import bounded
from innkeeper.updates.booking import Verdict
from innkeeper.updates.policy import Policy
from innkeeper.updates.window import Window
from innkeeper.wire.states import Weekday
from tests.store.clusters import Cluster

MACHINES = 4
IDENTIFIER = "u"


@contextlib.asynccontextmanager
async def night(directory: Path, url: sa.URL) -> AsyncIterator[House]:
    """A service on PostgreSQL with an update booked for each machine, in a window that is open."""
    settings = Settings(
        state_dir=directory / "state",
        socket=directory / "socket",
        database=url.set(drivername="postgresql").render_as_string(hide_password=False),
        policy=Policy(soak_seconds=20.0, health_seconds=20.0, look_seconds=5.0),
        fake=FakeSettings(machines=MACHINES, speed=60),
    )
    # A file is made: not on the event loop.
    time = await asyncio.to_thread(simulated_time, directory / "clock.json", 60, dt.datetime.now(dt.UTC))
    async with open_house(settings, Overrides(clock=time.clock)) as house:
        await house.windows.add(
            Window(
                name="always",
                zone="UTC",
                start=dt.time(),
                duration=dt.timedelta(days=7),
                weekdays=frozenset(Weekday),
            )
        )
        for machine in await house.machines.list():
            await house.bookings.book(
                machine.name, label="", identifier=IDENTIFIER, context=b"good", booked_by="ana"
            )
        house.trigger.wake()
        yield house


async def until_under_way(house: House) -> None:
    """Wait until every update has begun, and none has ended."""
    while not all(booking.has_started for booking in await house.bookings.list()):
        await asyncio.sleep(0.05)
    assert not any(booking.verdict for booking in await house.bookings.list())


async def verdicts(house: House) -> list[Verdict | None]:
    """Wait for all verdicts."""
    while not all(booking.verdict for booking in await house.bookings.list()):
        await asyncio.sleep(0.1)
    return [booking.verdict for booking in await house.bookings.list()]


async def readiness(house: House) -> tuple[int, str]:
    """Ask as those do who watch over the service."""
    transport = httpx.ASGITransport(make_app(house))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        answer = await http.get("/readyz")
    return answer.status_code, answer.text


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_runs_go_on_where_postgresql_is_restarted(
    own_cluster: Cluster, own_database: sa.URL, tmp_path: Path, mode: str
) -> None:
    """Four of four are kept, each with one report; the health tells of the database while it is away."""
    async with night(tmp_path, own_database) as house:
        await until_under_way(house)
        await asyncio.to_thread(own_cluster.stop, mode)
        try:
            status, text = await readiness(house)
            assert status == 503
            assert re.fullmatch(r"The database is away since [\d: -]+ UTC\. It is waited for\.\n", text), text
        finally:
            await asyncio.to_thread(own_cluster.start)
        assert await verdicts(house) == [Verdict.KEPT] * MACHINES
        reports = await house.reports.list()
        assert sorted(report.machine for report in reports) == sorted(
            machine.name for machine in await house.machines.list()
        )
        assert not [loop for loop in house.loops.health if not loop.ok]


async def test_runs_go_on_where_postgresql_stands_still(
    own_cluster: Cluster, own_database: sa.URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests are told in time when to ask again; the runs wait, and are kept."""
    async with night(tmp_path, own_database) as house:
        await until_under_way(house)
        monkeypatch.setattr("innkeeper.server.routes.health.DATABASE_SECONDS", 0.3)
        with own_cluster.paused():
            assert await readiness(house) == (503, "The database does not answer. It is waited for.\n")
            with bounded(0.3), pytest.raises(StoreAway) as told:
                await house.bookings.list()
            answer = response_of(told.value)
            assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert await verdicts(house) == [Verdict.KEPT] * MACHINES
