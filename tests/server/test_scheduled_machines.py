"""A scheduled task means the very machine that its name meant when the task was registered."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import json
from collections.abc import Sequence
from typing import cast

import pytest

from innkeeper.errors import ErrorCode
from innkeeper.hypervisor.simulated.machines import SimulatedMachine
from innkeeper.identity.caller import Caller, Proof
from innkeeper.identity.roles import Grant, Reach, Role
from innkeeper.machines.machine import MachineState
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.model.enumerations import ActionType
from innkeeper.schedule.ports import ScheduleStore
from innkeeper.schedule.registered import Registered, Run
from innkeeper.schedule.running import instance
from innkeeper.schedule.xml.encoding import Encoding
from innkeeper.server import scheduled_machines
from innkeeper.server.operations import BOOK_UPDATE, COMPACT_DISK
from innkeeper.server.scheduled_machines import called_now
from innkeeper.wire.commands import Command
from innkeeper.wire.events import Event, EventKind
from tests.server.test_same_names import Inn, inn

__all__ = ["inn"]


def definition_of(class_id: str, *data: str) -> TaskDefinition:
    """A task that calls an operation, once with each of these."""
    definition = TaskDefinition.new()
    for each in data:
        action = definition.actions.create(ActionType.COM_HANDLER)
        action.class_id, action.data = class_id, each
    return definition


async def register(inn: Inn, *machines: str, class_id: str = Command.STARTUP.class_id) -> None:
    """Register the task ``\\t``, which starts machines, at the door."""
    xml = definition_of(class_id, *machines).to_xml(Encoding.UTF_8).decode()
    answer = await inn.door.post("/v1/schedule/task", json={"path": "\\t", "xml": xml})
    assert answer.status_code == 201, answer.text


async def run(inn: Inn, *arguments: str) -> Run:
    """The run of the task at its end."""
    schedule = inn.house.schedule
    task = await schedule.registry.task("\\t")
    begun = await schedule.scheduler.start(task, arguments)
    async with asyncio.timeout(30):
        while True:
            runs = {each.id: each for each in await schedule.scheduler.history(task)}
            if not runs[begun.id].state.is_live:
                return runs[begun.id]
            await asyncio.sleep(0.01)


async def machines_told(inn: Inn) -> list[str]:
    """The machines of the task, as its door tells them."""
    told = (await inn.door.get("/v1/schedule/task", params={"path": "\\t"})).json()["machines"]
    assert isinstance(told, list)
    return told


async def test_a_namesake_that_comes_later_changes_nothing(inn: Inn) -> None:
    """The name is refused everywhere else; the task starts the one that it was registered for."""
    await register(inn, "db-1")
    await inn.attic.simulation.add(SimulatedMachine(name="db-1", uuid="uuid-late"))
    await inn.house.machines.list()
    assert (await inn.door.get("/v1/machines/db-1")).status_code == 409
    ended = await run(inn)
    assert ended.result == 0, ended.reason
    assert (await inn.cellar.inventory.get("db-1")).state is MachineState.RUNNING
    assert (await inn.attic.inventory.get("db-1")).state is MachineState.TURNED_OFF
    assert await machines_told(inn) == ["cellar/db-1"]


async def test_a_machine_with_another_name_is_found(inn: Inn) -> None:
    """Another that has got its former name is not touched; the present name is told."""
    await register(inn, "db-1")
    await inn.cellar.definitions.rename("db-1", "db-old")
    await inn.cellar.simulation.add(SimulatedMachine(name="db-1", uuid="uuid-new"))
    ended = await run(inn)
    assert ended.result == 0, ended.reason
    assert (await inn.cellar.inventory.get("db-old")).state is MachineState.RUNNING
    assert (await inn.cellar.inventory.get("db-1")).state is MachineState.TURNED_OFF
    await inn.house.board.all()
    assert await machines_told(inn) == ["cellar/db-old"]


async def test_a_machine_on_another_host_is_found(inn: Inn) -> None:
    """It was migrated there: beside a namesake, too."""
    await register(inn, "cellar/db-1")
    await inn.cellar.simulation.forget("db-1")
    await inn.cellar.simulation.add(SimulatedMachine(name="db-1", uuid="uuid-new"))
    await inn.attic.simulation.add(SimulatedMachine(name="db-1", uuid="uuid-d"))
    ended = await run(inn)
    assert ended.result == 0, ended.reason
    assert (await inn.attic.inventory.get("db-1")).state is MachineState.RUNNING
    assert (await inn.cellar.inventory.get("db-1")).state is MachineState.TURNED_OFF
    await inn.house.board.all()
    assert await machines_told(inn) == ["attic/db-1"]


async def test_a_machine_that_is_gone_is_not_taken_for_another_of_its_name(inn: Inn) -> None:
    """The run says which one is gone, and what to do."""
    await register(inn, "db-1")
    await inn.cellar.simulation.forget("db-1")
    await inn.cellar.simulation.add(SimulatedMachine(name="db-1", uuid="uuid-new"))
    ended = await run(inn)
    assert ended.result == ErrorCode.VM_E_VM_UNKNOWN
    assert "“db-1” when the task was registered is not there any more" in ended.reason
    assert (await inn.cellar.inventory.get("db-1")).state is MachineState.TURNED_OFF
    assert await machines_told(inn) == ["db-1"]
    await register(inn, "db-1")
    assert (await run(inn)).result == 0


async def test_a_booking_of_a_schedule_is_for_the_machine_that_was_meant(inn: Inn) -> None:
    """Whatever else stands in its data."""
    data = json.dumps({"machine": "db-1", "label": "for $5", "identifier": "late"})
    await register(inn, data, class_id=BOOK_UPDATE)
    await inn.attic.simulation.add(SimulatedMachine(name="db-1", uuid="uuid-late"))
    await inn.house.machines.list()
    ended = await run(inn)
    assert ended.result == 0, ended.reason
    (booking,) = [each for each in await inn.house.bookings.list() if each.identifier == "late"]
    assert booking.key.endswith("/uuid-d")
    assert booking.label == "for $5"


async def test_a_name_that_the_start_gives_means_what_it_means_then(inn: Inn) -> None:
    """Nobody could look for it before."""
    await register(inn, "$(Arg0)")
    assert (await inn.house.schedule.registry.task("\\t")).machines == ()
    ended = await run(inn, "db-1")
    assert ended.result == 0, ended.reason


async def test_a_task_from_before_gets_its_keys_where_its_names_are_unique(inn: Inn) -> None:
    """All of them, or none: the ambiguous one is refused at its start, as it was."""
    registry = inn.house.schedule.registry
    for path, class_id, data in (
        ("\\one", Command.STARTUP.class_id, ("db-1",)),
        ("\\several", Command.STARTUP.class_id, ("db-1", "web-1")),
        ("\\none", COMPACT_DISK, ("/disks/a.vhd",)),
    ):
        await registry.register(path, definition_of(class_id, *data), owner="ana")
    come = Event(kind=EventKind.HOST_CONNECTED, subject="attic", at=dt.datetime.now(dt.UTC), data={})
    inn.house.events.publish(come)
    async with asyncio.timeout(30):
        while (await registry.task("\\none")).machines is None or not (await registry.task("\\one")).keys:
            await asyncio.sleep(0.01)
    assert (await registry.task("\\one")).keys == {"db-1": (await inn.house.machines.get("db-1")).key}
    assert (await registry.task("\\several")).machines is None
    assert (await registry.task("\\none")).machines == ()


class _Unsettled:
    """Tasks whose machines were never found out, and how often they are read and written."""

    def __init__(self, *tasks: Registered) -> None:
        self.tasks = {task.id: task for task in tasks}
        self.reads = 0
        self.writes = 0

    async def unsettled(self) -> Sequence[Registered]:
        self.reads += 1
        return [task for task in self.tasks.values() if task.machines is None]

    async def change(self, seen: Registered, task: Registered) -> bool:
        self.writes += 1
        self.tasks[seen.id] = task
        return True


async def test_many_tasks_from_before_are_read_once_and_each_is_written_once(
    inn: Inn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many machines they name; those whose machines are not there are read again at the next look."""
    registry = inn.house.schedule.registry
    tasks = [
        await registry.register(
            f"\\t{n}", definition_of(Command.STARTUP.class_id, f"m{n}", "db-1"), owner="ana"
        )
        for n in range(30)
    ]
    store, parsed = _Unsettled(*tasks), []

    def definition(task: Registered) -> TaskDefinition:
        parsed.append(task.path)
        return instance.definition_of(task)

    monkeypatch.setattr(scheduled_machines, "definition_of", definition)
    names = scheduled_machines.ScheduledNames(cast("ScheduleStore", store))
    assert set(await names.names()) == {"db-1", *(f"m{n}" for n in range(30))}
    for named in ("db-1", *(f"m{n}" for n in range(29))):
        await names.adopt(named, f"host/{named}")
    assert (store.reads, len(parsed), store.writes) == (1, 30, 29)
    assert store.tasks[tasks[0].id].keys == {"m0": "host/m0", "db-1": "host/db-1"}
    assert set(await names.names()) == {"db-1", "m29"}
    assert (store.reads, len(parsed), store.writes) == (2, 31, 29)


async def test_a_machine_that_the_caller_may_not_see_is_called_as_in_the_task(inn: Inn) -> None:
    """Neither its host nor its present name is given away."""
    await register(inn, "db-1")
    task = await inn.house.schedule.registry.task("\\t")
    await inn.house.board.all()
    grants = (Grant(role=Role.VIEWER, reach=Reach.FOLDER, name="\\"),)
    stranger = Caller(user="eve", realm="local", proof=Proof.TOKEN, grants=grants)
    assert await called_now(task, inn.house, stranger) == ("db-1",)
    seer = dataclasses.replace(stranger, grants=(Grant(role=Role.VIEWER, reach=Reach.MACHINE, name="db-1"),))
    assert await called_now(task, inn.house, seer) == ("cellar/db-1",)


@pytest.mark.parametrize("machine", ["db-1", "cellar/db-1", "uuid-d"])
async def test_whatever_names_the_machine_is_kept_by_its_key(inn: Inn, machine: str) -> None:
    """As it stands in the definition, in which nothing is changed."""
    await register(inn, machine)
    task = await inn.house.schedule.registry.task("\\t")
    assert task.keys == {machine: (await inn.house.machines.get("db-1")).key}
    assert machine in task.xml
