"""Activity for a simulated fleet: a window every night, and updates booked for most machines."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Sequence

import structlog

from innkeeper.errors import InnkeeperError
from innkeeper.machines.machine import MachineState
from innkeeper.schedule.model.actions import ComHandlerAction
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.model.enumerations import ActionType, TaskCreation, TriggerType
from innkeeper.server.house import House
from innkeeper.updates.window import Window
from innkeeper.wire.commands import Command
from innkeeper.wire.states import Weekday

_log = structlog.get_logger(__name__)

_OWNER = "innkeeper"
_WINDOW = "every night"
#: The first night begins a little before the service starts, so that there is something to see at once.
_BEFORE = dt.timedelta(minutes=10)
_NIGHT = dt.timedelta(hours=4)
_LABELS = ("Security", "Security", "Security", "Point release", "Kernel")
#: Of ten machines, so many have an update each night.
_BUSY_OF_TEN = 7
#: Every so many seconds it is seen to that the coming night has its bookings.
_LOOK_SECONDS = 1800.0


async def demo_activity(house: House) -> None:
    """Open a window each night and book updates for it, until cancelled."""
    await _open_window(house)
    await _schedule(house)
    while True:
        await _book(house)
        await house.clock.sleep(_LOOK_SECONDS)


async def _open_window(house: House) -> None:
    if any(window.name == _WINDOW for window in await house.windows.list()):
        return
    opens = (house.clock.now() - _BEFORE).time().replace(second=0, microsecond=0)
    await house.windows.add(
        Window(name=_WINDOW, zone="UTC", start=opens, duration=_NIGHT, weekdays=frozenset(Weekday))
    )


async def _schedule(house: House) -> None:
    """Register two example tasks: save a desktop in the evening, start it in the morning."""
    for name, operation, hour in (("Save desk-2", Command.SAVE, 20), ("Start desk-2", Command.STARTUP, 7)):
        definition = TaskDefinition.new()
        definition.registration_info.description = "The desk is empty at night."
        action = definition.actions.create(ActionType.COM_HANDLER)
        assert isinstance(action, ComHandlerAction)  # what was asked for
        action.class_id, action.data = operation.class_id, "desk-2"
        trigger = definition.triggers.create(TriggerType.DAILY)
        trigger.start_boundary = f"{house.clock.now():%Y-%m-%d}T{hour:02}:00:00"  # type: ignore[assignment]  # taken as a boundary
        path = f"\\Office\\{name}"
        try:
            await house.schedule.registry.register(path, definition, TaskCreation.CREATE, owner=_OWNER)
        except InnkeeperError:  # it is there from the last time
            continue
    house.schedule.scheduler.wake()


async def _book(house: House) -> None:
    """Book updates for the current or the next night."""
    window = next((each for each in await house.windows.list() if each.name == _WINDOW), None)
    now = house.clock.now()
    night = (window.occurrence(now) or window.next_after(now)) if window is not None else None
    if night is None:
        return
    known = {(booking.machine, booking.identifier) for booking in await house.bookings.list()}
    for name in await _machines(house):
        chance = random.Random(f"{name} {night.start:%Y-%m-%d}")  # noqa: S311  # the same night every time
        identifier = f"{night.start:%Y-%m-%d}"
        if (name, identifier) in known or chance.randrange(10) >= _BUSY_OF_TEN:
            continue
        deadline = night.end - dt.timedelta(minutes=30) if chance.random() < 0.2 else None
        try:
            await house.bookings.book(
                name,
                label=chance.choice(_LABELS),
                identifier=identifier,
                start=max(now, night.start - dt.timedelta(hours=12)),
                deadline=deadline,
                booked_by=_OWNER,
            )
        except InnkeeperError as refused:
            _log.info("demo_activity.not_booked", machine=name, reason=refused.sentence)


async def _machines(house: House) -> Sequence[str]:
    off = MachineState.TURNED_OFF
    return [machine.name for machine in await house.machines.list() if machine.state is not off]
