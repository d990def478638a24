"""Innkeeper's own operations are called by scheduled tasks: started, followed, stopped, refused."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from innkeeper.disks.create import create_differencing, create_dynamic
from innkeeper.errors import ErrorCode
from innkeeper.machines.machine import MachineState
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.model.enumerations import ActionType
from innkeeper.schedule.registered import Run, RunState
from innkeeper.server import operations
from innkeeper.server.compose import open_house
from innkeeper.server.compose_base import Overrides
from innkeeper.server.house import House
from innkeeper.server.settings import FakeSettings, Settings
from innkeeper.tasks.clock import FakeClock
from innkeeper.tasks.task import TaskFilter
from innkeeper.wire.commands import command_of
from innkeeper.wire.events import Event, EventKind

DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "schedule.md"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A simulated inn with two machines and a folder of disks."""
    settings = Settings(
        state_dir=tmp_path / "state",
        socket=tmp_path / "s",
        fake=FakeSettings(machines=2, speed=600),
    )
    async with open_house(settings, Overrides(clock=FakeClock(speed=600))) as house:
        yield house


async def called(house: House, class_id: str, data: str) -> Run:
    """The run of a task that calls an operation, at its end."""
    run = await begun(house, class_id, data)
    return await ended(house, run)


async def begun(house: House, class_id: str, data: str) -> Run:
    definition = TaskDefinition.new()
    action = definition.actions.create(ActionType.COM_HANDLER)
    action.class_id, action.data = class_id, data
    task = await house.schedule.registry.register("\\t", definition, owner="ana")
    return await house.schedule.scheduler.start(task)


async def ended(house: House, run: Run) -> Run:
    task = await house.schedule.registry.task("\\t")
    for _ in range(2000):
        found = next(each for each in await house.schedule.scheduler.history(task) if each.id == run.id)
        if not found.state.is_live:
            return found
        await asyncio.sleep(0.01)
    raise AssertionError("it never ended")


async def test_operations_on_machines_do_what_they_say(house: House) -> None:
    """Pause, resume, save, start, shut down, reset, turn off: each with the machine's name as data."""
    told = (
        ("turn_off", MachineState.TURNED_OFF),
        ("startup", MachineState.RUNNING),
        ("pause", MachineState.PAUSED),
        ("resume", MachineState.RUNNING),
        ("reset", MachineState.RUNNING),
        ("save", MachineState.SAVED),
        ("discard_saved_state", MachineState.TURNED_OFF),
        ("startup", MachineState.RUNNING),
        ("turn_off", MachineState.TURNED_OFF),
    )
    machine = next(each for each in await house.machines.list() if each.state is MachineState.RUNNING)
    for name, state in told:
        run = await called(house, command_of(name).class_id, f" {machine.name}\n")
        assert (run.state, run.result) == (RunState.FINISHED, 0), (name, run.reason)
        assert (await house.machines.get(machine.name)).state is state, name
    task = next(each for each in await house.tasks.list() if "urn off" in each.description)
    assert task.owner == operations.OWNER


async def test_an_operation_that_is_refused_says_why(house: House) -> None:
    """The machine's own error is the run's."""
    run = await called(house, command_of("startup").class_id, "none")
    assert run.result == ErrorCode.VM_E_VM_UNKNOWN
    assert "none" in run.reason


async def test_stopping_an_instance_cancels_its_operation(house: House) -> None:
    """A save is taken back; the instance ends as terminated only then."""
    machine = next(each for each in await house.machines.list() if each.state is MachineState.RUNNING)
    run = await begun(house, command_of("shut_down").class_id, machine.name)
    while not (
        found := [
            each for each in await house.tasks.list(TaskFilter(live=True)) if each.kind != "scheduled_task"
        ]
    ):
        await asyncio.sleep(0.005)
    run = next(r for r in await house.schedule.scheduler.history(await house.schedule.registry.task("\\t")))
    await house.schedule.scheduler.stop_run(run)
    over = await ended(house, run)
    operation = await house.tasks.get(found[0].id)
    assert operation.is_complete
    assert over.state in (RunState.TERMINATED, RunState.FINISHED)


async def test_disks_are_compacted_and_merged(house: House) -> None:
    """By path, or by an object with more to say; within the folders of the service alone."""
    folder = house.settings.state_dir / "disks"
    parent, child = folder / "a.vhd", folder / "b.vhd"
    await asyncio.to_thread(create_dynamic, parent, 8 << 20)
    await asyncio.to_thread(create_differencing, child, parent)
    for data in (str(parent), json.dumps({"path": str(parent)})):
        run = await called(house, operations.COMPACT_DISK, data)
        assert run.result == 0, run.reason
    run = await called(house, operations.MERGE_DISK, str(child))
    assert run.result == 0, run.reason
    assert not child.exists()
    refused = await called(house, operations.COMPACT_DISK, "/etc/passwd")
    assert refused.result != 0


async def test_an_update_is_booked(house: House) -> None:
    """With durations from now, and under an identifier of its own where none is said."""
    (machine, *_) = await house.machines.list()
    data = {
        "machine": machine.name,
        "label": "Security",
        "identifier": "2026-11",
        "end": "PT8H",
        "context": {"reboot": "never"},
    }
    run = await called(house, operations.BOOK_UPDATE, json.dumps(data))
    assert run.result == 0, run.reason
    booking = await house.bookings.get(machine.name, "2026-11")
    assert (booking.label, booking.booked_by) == ("Security", operations.OWNER)
    assert booking.end is not None
    assert dt.timedelta(hours=7) < booking.end - house.clock.now() <= dt.timedelta(hours=8)
    assert booking.context == b'{"reboot": "never"}'


async def test_a_guest_is_asked_which_updates_wait(house: House) -> None:
    """The answer is the instance's progress, and an event that others can wait for."""
    (machine, *_) = await house.machines.list()
    told: list[Event] = []
    house.events.subscribe(told.append)
    run = await called(house, operations.SCAN, machine.name)
    assert run.result == 0, run.reason
    (event,) = [each for each in told if each.kind == EventKind.UPDATE_SCANNED]
    assert (event.subject, event.data["count"], event.data["packages"]) == (machine.name, 1, ["base"])
    phases = [
        str(each.data.get("phase"))
        for each in told
        if each.kind in (EventKind.TASK_CHANGED, EventKind.TASK_ENDED)
    ]
    assert any("1 update available: base 1.0-1 → 1.0-2" in phase for phase in phases)


@pytest.mark.parametrize(
    "data",
    [
        "",
        "web-1",
        "[]",
        "{}",
        '{"machine": 1}',
        '{"machine": "web-1", "end": "soon"}',
        '{"machine": "web-1", "end": "2026-01-01T00:00"}',
        '{"machine": "web-1", "context_base64": "?"}',
    ],
)
async def test_data_that_says_no_booking_is_refused(house: House, data: str) -> None:
    """0x80041318, with the node."""
    run = await called(house, operations.BOOK_UPDATE, data)
    assert run.result == ErrorCode.SCHED_E_INVALIDVALUE


def test_the_reference_has_every_class_id() -> None:
    """Of all that is no command of a machine, and no other: those have a page of their own."""
    written = set(re.findall(r"\{6F1D2A10-[0-9A-F-]+\}", DOCUMENT.read_text()))
    others = {operations.COMPACT_DISK, operations.MERGE_DISK, operations.BOOK_UPDATE, operations.SCAN}
    assert written == others
