"""Events of machines that another server looks after are heard by those who may see these machines."""

from __future__ import annotations

import datetime as dt

from innkeeper.identity.caller import Caller, Proof
from innkeeper.identity.roles import Grant, Reach, Role
from innkeeper.server.identity.visibility import sees_event
from innkeeper.wire.events import Event, EventKind, Json
from tests.server.relay.two_servers import Server

Inn = tuple[Server, Server]


def _caller(reach: Reach, name: str) -> Caller:
    grant = Grant(role=Role.VIEWER, reach=reach, name=name)
    return Caller(user="ana", realm="LAB", proof=Proof.PASSWORD, grants=(grant,))


def _told(south: Server, kind: EventKind, subject: str, **data: Json) -> Event:
    """An event as the owner tells it."""
    event = Event(kind=kind, subject=subject, at=dt.datetime.now(dt.UTC), data=data)
    return south.house.events.place(event)


async def test_who_may_see_a_machine_hears_of_it_at_any_door(inn: Inn) -> None:
    """By its name, and in the events of its tasks; of others nothing."""
    north, south = inn
    sees = sees_event(north.house, _caller(Reach.MACHINE, "db-1"))
    assert await sees(_told(south, EventKind.MACHINE_STARTED, "db-1", host="cellar"))
    assert not await sees(_told(south, EventKind.MACHINE_STARTED, "db-2", host="cellar"))
    one, other = [await south.house.machines.get(name) for name in ("db-1", "db-2")]
    for machine, number, is_seen in ((one, "1", True), (other, "2", False)):
        lock = f"machine:{machine.key}"
        made = _told(south, EventKind.TASK_CREATED, number, owner="root", lock=lock, about=machine.title)
        assert await sees(made) is is_seen
        assert await sees(_told(south, EventKind.TASK_LOGGED, number, text="A line.")) is is_seen


async def test_a_label_reaches_events_of_machines_at_other_servers(inn: Inn) -> None:
    """The directory says which labels a machine has there."""
    north, south = inn
    await south.http.post("/v1/machines/db-2/labels", json={"labels": ["lab"]})
    await south.keeper.look()
    sees = sees_event(north.house, _caller(Reach.LABEL, "lab"))
    assert await sees(_told(south, EventKind.MACHINE_STARTED, "db-2", host="cellar"))
    assert not await sees(_told(south, EventKind.MACHINE_STARTED, "db-1", host="cellar"))
    await south.http.delete("/v1/machines/db-2/labels/lab")
    await south.keeper.look()
