"""Scheduled tasks are started by the server that looks after what they are about."""

from __future__ import annotations

import dataclasses

from innkeeper.schedule.model.actions import ComHandlerAction
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.registered import Registered
from innkeeper.schedule.registry import Registry
from innkeeper.server.operations import BOOK_UPDATE, COMPACT_DISK, SCAN, machine_of
from innkeeper.server.relay.schedules import is_ours
from innkeeper.wire.commands import Command
from tests.server.relay.two_servers import Server

Inn = tuple[Server, Server]


def calling(class_id: str, data: str) -> TaskDefinition:
    """A task with one operation."""
    definition = TaskDefinition()
    action = definition.actions.create(ComHandlerAction.type)
    assert isinstance(action, ComHandlerAction)
    action.class_id, action.data = class_id, data
    return definition


def test_the_machine_of_a_task_is_that_of_its_operation() -> None:
    """Whichever operation on machines it is; one on disks, or a program, is about none."""
    assert machine_of(calling(Command.STARTUP.class_id, " db-1 ")) == "db-1"
    assert machine_of(calling(SCAN.lower(), "db-1")) == "db-1"
    assert machine_of(calling(BOOK_UPDATE, '{"machine": "db-1", "label": "x"}')) == "db-1"
    assert machine_of(calling(BOOK_UPDATE, "nonsense")) == ""
    assert machine_of(calling(COMPACT_DISK, "/disks/db-1.vhd")) == ""


async def registered(server: Server, name: str, definition: TaskDefinition) -> Registered:
    """Register a task at a server."""
    registry: Registry = server.house.schedule.registry
    return await registry.register(f"\\{name}", definition, owner="root")


async def test_a_task_about_a_machine_is_started_by_its_owner(inn: Inn) -> None:
    """Wherever it was registered."""
    north, south = inn
    task = await registered(north, "start-db", calling(Command.STARTUP.class_id, "db-3"))
    assert [await is_ours(each.house.neighbours, task) for each in inn] == [False, True]
    started = await north.http.post("/v1/schedule/task/run", json={"path": "\\start-db"})
    assert started.status_code == 202, started.text
    assert started.headers["innkeeper-server"] == "south"
    assert south.house.neighbours is not None


async def test_a_task_about_no_machine_is_started_where_it_was_registered(inn: Inn) -> None:
    """Any server starts one whose server is known no more."""
    north, _ = inn
    task = await registered(north, "compact", calling(COMPACT_DISK, "/disks/a.vhd"))
    assert [await is_ours(each.house.neighbours, task) for each in inn] == [True, False]
    gone = Registered(**{name: getattr(task, name) for name in task.__slots__} | {"server": "retired"})
    assert [await is_ours(each.house.neighbours, gone) for each in inn] == [True, True]


async def test_a_task_about_a_machine_that_nobody_knows_is_for_whoever_has_its_host(inn: Inn) -> None:
    """For none, where its server is retired and no other has taken the host yet."""
    north, south = inn
    task = await registered(north, "start-mail", calling(Command.STARTUP.class_id, "mail"))
    for key, ours in (
        ("host-of-nobody/gone", [False, False]),
        (f"{south.host.id}/gone", [False, True]),
        (f"{north.host.id}/attic-mail", [True, False]),
        ("host-of-nobody/attic-mail", [True, False]),
    ):
        keyed = dataclasses.replace(task, machines=(("mail", key),))
        assert [await is_ours(each.house.neighbours, keyed) for each in inn] == ours, key
