"""Serve a simulated inn that dies, as by kill -9, once at each of some steps of its update run.

Run as a program: ``mortal_service.py STATE_DIRECTORY CONTEXT STEPS``, the steps parted by commas. It prints
the verdict when it has lived so long.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from innkeeper.server.compose import open_house
from innkeeper.server.house import House
from innkeeper.server.settings import FakeSettings, Settings
from innkeeper.updates.outcome import Outcome
from innkeeper.updates.phase import Phase, Run
from innkeeper.updates.policy import Policy
from innkeeper.updates.window import Window
from innkeeper.wire.events import Json
from innkeeper.wire.states import Weekday

MACHINE = "web-1"
IDENTIFIER = "u"

_record = Run._record


def die_once_at(steps: list[str], deaths: Path) -> None:
    """Die between the action of each of these and its record: then the step is done again."""

    async def record(run: Run, phase: Phase, action: Callable[[], Awaitable[Json]]) -> Outcome:
        async def mortal() -> Json:
            result = await action()
            died_at = deaths.read_text().splitlines() if deaths.exists() else []
            if phase.name in steps and phase.name not in died_at:
                deaths.write_text("\n".join([*died_at, phase.name]))
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return await _record(run, phase, mortal)

    Run._record = record  # type: ignore[method-assign,assignment]  # the only way in between action and record


async def book(house: House, context: str) -> None:
    """Open a long window and book the update, the first time."""
    if await house.bookings.list():
        return
    await house.windows.add(
        Window(
            name="always",
            zone="UTC",
            start=dt.time(),
            duration=dt.timedelta(days=7),
            weekdays=frozenset({Weekday.of(house.clock.now())}),
        )
    )
    await house.bookings.book(
        MACHINE, label="", identifier=IDENTIFIER, context=context.encode(), booked_by="ana"
    )
    house.trigger.wake()


async def main(directory: Path, context: str) -> None:
    """Serve until the update has a verdict."""
    settings = Settings(
        state_dir=directory,
        socket=directory / "socket",
        policy=Policy(soak_seconds=10.0, health_seconds=10.0, look_seconds=5.0),
        fake=FakeSettings(machines=1, speed=60),
    )
    async with open_house(settings) as house:
        await book(house, context)
        while (booking := await house.bookings.get(MACHINE, IDENTIFIER)).verdict is None:
            await house.clock.sleep(5)
        await house.tasks.wait(booking.task_id or 0)
        print(booking.verdict, (await house.machines.get(MACHINE)).state.name)


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    where = Path(sys.argv[1])
    die_once_at(sys.argv[3].split(","), where / "deaths")
    asyncio.run(main(where, sys.argv[2]))
