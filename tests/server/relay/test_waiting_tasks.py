"""What is told, at any door, of tasks whose server is away."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa

from innkeeper.servers.server import ServerState
from innkeeper.store.database import Database
from innkeeper.store.servers import Servers
from innkeeper.store.task_store import SqlTaskStore
from innkeeper.tasks.task import NewTask, Task, TaskResult
from tests.server.relay.two_servers import Server

NIGHT = dt.datetime(2026, 1, 10, 22, 0, tzinfo=dt.UTC)


@pytest.fixture
async def left(inn: tuple[Server, Server], inn_database: sa.URL) -> AsyncIterator[Task]:
    """A task that a third server, ``shed``, has left in the middle."""
    database = await Database.connect(inn_database)
    servers, tasks = Servers(database), SqlTaskStore(database)
    shed = await servers.enrol("shed")
    task = await tasks.create(
        NewTask(kind="update_run", description="Update old-1", argument={}, server=shed.id), NIGHT
    )
    await servers.leave(shed)
    for door in inn:
        assert door.house.neighbours is not None
        door.house.neighbours.look_again()
    yield task
    await tasks.end(
        task.id, result=TaskResult.CANCELLED, error=0, error_description="", at=NIGHT, server=shed.id
    )
    await servers.set_state(shed.id, ServerState.RETIRED)
    await database.close()


async def test_a_task_whose_server_is_away_is_told_as_waiting(inn: tuple[Server, Server], left: Task) -> None:
    """In lists and alone, with the server's name; it does not run, and it has not ended."""
    for door in inn:
        one = (await door.http.get(f"/v1/tasks/{left.id}")).json()
        listed = (await door.http.get("/v1/tasks", params={"live": True})).json()["tasks"]
        assert one["waits"].startswith("Its server shed is away since ")
        assert one["waits"] in [each["waits"] for each in listed if each["id"] == left.id]
        assert not one["is_complete"]


async def test_a_task_whose_server_is_away_can_be_cancelled(inn: tuple[Server, Server], left: Task) -> None:
    """At any door: the server finds that asked for when it is back."""
    north, _ = inn
    cancelled = await north.http.post(f"/v1/tasks/{left.id}/cancel")
    assert cancelled.status_code == 202
    assert cancelled.json()["cancel_requested"]


async def test_a_task_of_a_living_server_does_not_wait(inn: tuple[Server, Server]) -> None:
    """Nor one that has ended."""
    north, south = inn
    accepted = await south.http.post("/v1/machines/db-1/startup", json={})
    task = accepted.json()["task"]["id"]
    assert (await north.http.get(f"/v1/tasks/{task}")).json()["waits"] == ""
    await south.house.tasks.wait(task)
    assert (await north.http.get(f"/v1/tasks/{task}")).json()["waits"] == ""
    off = await south.http.post("/v1/machines/db-1/turn_off", json={})
    if off.status_code == 202:
        await south.house.tasks.wait(off.json()["task"]["id"])
