"""A name that machines of several servers' hosts have is ambiguous at every door."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from urllib.parse import quote

import pytest

from innkeeper.errors import ErrorCode, InnkeeperError, MachineAmbiguous, MachineError
from innkeeper.hypervisor.simulated.machines import SimulatedMachine
from innkeeper.identity.roles import Grant, Reach, Role
from innkeeper.machines.directory import HostEntry, MachineEntry
from innkeeper.machines.machine import MachineState
from innkeeper.schedule.model.actions import ComHandlerAction
from innkeeper.schedule.xml.encoding import Encoding
from innkeeper.server.identity.subjects import machine_called, resource_of
from innkeeper.server.relay.keeper import DirectoryKeeper
from innkeeper.server.relay.schedules import is_ours
from innkeeper.store.directory import SqlDirectory
from innkeeper.tasks.running import RunningTask
from innkeeper.updates.booking import Verdict
from innkeeper.updates.machine_name import MachineName, selector
from innkeeper.wire.commands import Command
from innkeeper.wire.events import Event, EventKind, Json
from tests.server.relay.test_schedules import calling
from tests.server.relay.two_servers import Server

Inn = tuple[Server, Server]
#: Hosts of servers that are away.
_FAR = ("barn", "loft")
_BOTH = ("attic/web-1", "cellar/Web-1")
_WINDOW = {
    "name": "night", "zone": "UTC", "opens_at": "20:00", "duration_seconds": 3600, "weekdays": ["mon"],
    "machines": ["web-1"],
}  # fmt: skip


async def heard(inn: Inn, holds: Callable[[], Awaitable[bool]]) -> None:
    """Let both servers look at what is written down until something holds, and write down what they see."""
    held = 0
    async with asyncio.timeout(60):
        while True:
            for each in inn:
                each.house.board.look_again()
                await each.house.board.all()
                each.keeper.on_event_elsewhere(_come())
                await each.keeper.look()
            held += await holds()
            if held > 1:
                return
            await asyncio.sleep(0.05)


def _come() -> Event:
    return Event(kind=EventKind.MACHINE_DEFINED, subject="a machine", at=dt.datetime.now(dt.UTC), data={})


@contextlib.asynccontextmanager
async def defined_too(inn: Inn, machine: SimulatedMachine) -> AsyncIterator[None]:
    """Have one more machine in the cellar, of which both servers know."""
    _, south = inn

    async def marked() -> int:
        boards = [await each.house.board.all() for each in inn]
        found = [notice.machine for board in boards for notice in board]
        same = [m for m in found if machine.uuid == m.uuid or machine.name.casefold() == m.name.casefold()]
        return sum(bool(each.namesakes or each.also_on) for each in same)

    async def is_known() -> bool:
        return await marked() == 2

    async def is_forgotten() -> bool:
        rows = await south.directory.with_uuid(machine.uuid)
        return not [row for row in rows if row.host == "cellar"] and not await marked()

    await south.host.simulation.add(machine)
    try:
        await heard(inn, is_known)
        yield
    finally:
        await south.host.simulation.forget(machine.name)
        await heard(inn, is_forgotten)


@pytest.fixture
async def namesakes(inn: Inn) -> AsyncIterator[Inn]:
    """``web-1`` of the north's attic has a namesake in the south's cellar."""
    async with defined_too(inn, SimulatedMachine(name="Web-1", uuid="cellar-web-1")):
        yield inn


@pytest.fixture
async def twins(inn: Inn) -> AsyncIterator[Inn]:
    """The attic's ``mail`` is defined in the cellar too, under another name."""
    async with defined_too(inn, SimulatedMachine(name="post", uuid="attic-mail")):
        with pytest.MonkeyPatch.context() as patient:
            # The servers' clock runs fifty times as fast as the directory's looks.
            patient.setattr("innkeeper.machines.service._NEWS", dt.timedelta(hours=1))
            yield inn


async def test_a_name_of_two_servers_is_refused_at_each_door(namesakes: Inn) -> None:
    """With both written out: for machines, their bookings, and windows."""
    for each in namesakes:
        for response in (
            await each.http.get("/v1/machines/web-1"),
            await each.http.post("/v1/machines/web-1/startup", json={}),
            await each.http.post("/v1/updates", json={"machine": "web-1", "identifier": "u", "label": "l"}),
            await each.http.put("/v1/windows/night", json=_WINDOW),
        ):
            assert response.status_code == 409, response.text
            told = response.json()
            assert told["code"] == ErrorCode.VM_E_CONFIG_DUPLICATE_NAME.name, told
            assert all(name in told["detail"] for name in _BOTH), told


async def test_a_scheduled_task_is_registered_at_any_door_for_a_known_machine(namesakes: Inn) -> None:
    """One at another server is known; a name of two servers, and one of none, is refused at once."""
    for each in namesakes:
        for called, status in (("web-1", 409), ("nobody", 404), ("mail", 201), ("db-1", 201)):
            xml = calling(Command.SAVE.class_id, called).to_xml(Encoding.UTF_8).decode()
            body = {"path": f"\\known-{each.name}-{called}", "xml": xml}
            answer = await each.http.post("/v1/schedule/task", json=body)
            assert answer.status_code == status, answer.text
            if status == 409:
                assert all(name in answer.json()["detail"] for name in _BOTH)


async def test_a_window_knows_the_machines_of_all_servers(inn: Inn) -> None:
    """Only what nobody has is told."""
    for each in inn:
        window = _WINDOW | {"machines": ["mail", "cellar/db-1", "nobody", "attic/db-1"]}
        made = await each.http.put("/v1/windows/night", json=window)
        assert made.json()["unknown"] == ["nobody", "attic/db-1"], made.text
        assert (await each.http.delete("/v1/windows/night")).status_code == 204


async def test_a_window_keeps_the_machines_of_all_servers_by_their_uuids(inn: Inn) -> None:
    """At whichever door it is made, and when it is put once more."""
    window = _WINDOW | {"machines": ["mail", "db-1", "CELLAR/db-2", "nobody"]}
    pins = {"mail": "attic-mail", "db-1": "cellar-db-1", "cellar/db-2": "cellar-db-2"}
    for each in inn:
        for method, path in (("POST", "/v1/windows"), ("PUT", "/v1/windows/night")):
            made = await each.http.request(method, path, json=window)
            assert made.json()["unknown"] == ["nobody"], made.text
            assert dict((await each.house.windows.get("night")).pins) == pins
        assert (await each.http.delete("/v1/windows/night")).status_code == 204


async def test_a_scheduled_task_on_machines_of_two_servers_is_refused(inn: Inn) -> None:
    """At once, since the one server that starts it finds its own alone; two of one server's will do."""
    for each in inn:
        for machines, status in ((("mail", "db-1"), 422), (("db-1", "db-2"), 201), (("mail", "web-1"), 201)):
            definition = calling(Command.SAVE.class_id, machines[0])
            action = definition.actions.create(ComHandlerAction.type)
            assert isinstance(action, ComHandlerAction)
            action.class_id, action.data = Command.SAVE.class_id, machines[1]
            body = {"path": f"\\both-{machines[0]}", "xml": definition.to_xml(Encoding.UTF_8).decode()}
            answer = await each.http.post("/v1/schedule/task", json=body)
            assert answer.status_code == status, answer.text
            if status == 422:
                assert "mail (north), db-1 (south)" in answer.json()["detail"]


async def test_a_scheduled_task_means_its_machine_beside_a_namesake_of_another_server(inn: Inn) -> None:
    """Its owner starts it, whichever door is asked, and no other does."""
    north, south = inn
    xml = calling(Command.STARTUP.class_id, "web-1").to_xml(Encoding.UTF_8).decode()
    made = await south.http.post("/v1/schedule/task", json={"path": "\\its-own", "xml": xml})
    assert made.json()["machines"] == ["attic/web-1"], made.text
    async with defined_too(inn, SimulatedMachine(name="Web-1", uuid="cellar-web-1")):
        task = await south.house.schedule.registry.task("\\its-own")
        assert [await is_ours(each.house.neighbours, task) for each in inn] == [True, False]
        for each in inn:
            told = await each.http.get("/v1/schedule/task", params={"path": "\\its-own"})
            assert told.json()["machines"] == ["attic/web-1"]
        started = await south.http.post("/v1/schedule/task/run", json={"path": "\\its-own"})
        assert started.headers["innkeeper-server"] == "north", started.text
        async with asyncio.timeout(30):
            while (await north.host.inventory.get("web-1")).state is not MachineState.RUNNING:
                await asyncio.sleep(0.01)
        assert (await south.host.inventory.get("Web-1")).state is MachineState.TURNED_OFF
    await north.host.lifecycle.turn_off("web-1")


@pytest.fixture
async def sleepy(inn: Inn, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Inn]:
    """No server looks at its machines for the others; whatever came to the cellar goes at the end."""
    _, south = inn
    names = {machine.name for machine in await south.host.inventory.list()}
    with monkeypatch.context() as asleep:
        asleep.setattr(DirectoryKeeper, "look", _look_at_nothing)
        yield inn
    there = {machine.name for machine in await south.host.inventory.list()}
    for name in there - names:
        await south.host.simulation.forget(name)
        south.host.simulation.publish(EventKind.MACHINE_UNDEFINED, name)
    await south.house.machines.list()

    async def is_forgotten() -> bool:
        host = next(host for host in await south.directory.hosts() if host.name == "cellar")
        return {entry.name for entry in await south.directory.of_host(host.host_id)} == names

    await heard(inn, is_forgotten)


@pytest.fixture
async def unwritten(sleepy: Inn, monkeypatch: pytest.MonkeyPatch) -> Inn:
    """A ``web-1`` has just come to the cellar: the south has heard of it, and the directory has not."""
    _, south = sleepy
    monkeypatch.setattr(DirectoryKeeper, "announce", _announce_nothing)
    await south.host.simulation.add(SimulatedMachine(name="web-1", uuid="cellar-web-1"))
    south.host.simulation.publish(EventKind.MACHINE_DEFINED, "web-1")
    return sleepy


async def test_a_name_of_a_machine_that_has_just_come_is_refused_at_its_door(unwritten: Inn) -> None:
    """The directory leads to the other alone, which its owner would be asked for."""
    _, south = unwritten
    for method, path in (("GET", ""), ("POST", "/startup"), ("GET", "/configuration")):
        answer = await south.http.request(method, f"/v1/machines/web-1{path}")
        assert answer.status_code == 409, answer.text
        assert all(name in answer.json()["detail"] for name in ("attic/web-1", "cellar/web-1"))


async def test_a_machine_that_has_just_come_is_no_others_by_its_name(unwritten: Inn) -> None:
    """Not where its server works by names, nor for a role that was given on the plain name of the other."""
    _, south = unwritten
    with pytest.raises(MachineAmbiguous, match="attic/web-1"):
        await south.house.machines.get("web-1")
    assert (await south.http.get("/v1/machines/cellar%2Fweb-1")).json()["title"] == "cellar/web-1"
    plain = Grant(role=Role.OPERATOR, reach=Reach.MACHINE, name="web-1")
    for named in ("cellar/web-1", f"{south.host.id}/cellar-web-1"):
        assert not plain.covers(machine_called(south.house, named))


async def test_a_machine_that_was_made_is_known_at_every_door(sleepy: Inn) -> None:
    """From the moment at which somebody is told that it is there, whenever its server looks next."""
    north, south = sleepy
    made = await south.http.post("/v1/machines", json={"name": "web-1", "host": "cellar"})
    assert made.status_code == 202, made.text
    await south.house.tasks.wait(made.json()["task"]["id"])
    assert (await north.http.post("/v1/machines/web-1/startup", json={})).status_code == 409
    renamed = await south.http.patch("/v1/machines/cellar%2Fweb-1", json={"name": "mail"})
    assert renamed.status_code == 200, renamed.text
    assert (await north.http.post("/v1/machines/mail/startup", json={})).status_code == 409
    assert (await north.http.get("/v1/machines/web-1")).json()["host"] == "attic"


async def test_a_machine_that_comes_is_written_down_at_once(sleepy: Inn) -> None:
    """However long its server pauses between two looks, which takes longer with many machines."""
    north, south = sleepy
    await south.host.simulation.add(SimulatedMachine(name="web-1", uuid="cellar-web-1"))
    south.host.simulation.publish(EventKind.MACHINE_DEFINED, "web-1")
    async with asyncio.timeout(30):
        while (await north.http.get("/v1/machines/web-1")).status_code != 409:
            await asyncio.sleep(0.01)


async def _look_at_nothing(self: DirectoryKeeper) -> None:
    pass


async def _announce_nothing(self: DirectoryKeeper, reference: str) -> None:
    pass


async def test_lists_and_answers_name_the_host(namesakes: Inn) -> None:
    """At each door the same, and each is found by what it is called there, by its UUID and by its key."""
    for each in namesakes:
        listed = (await each.http.get("/v1/machines")).json()["machines"]
        assert {m["title"] for m in listed if m["name"].casefold() == "web-1"} == set(_BOTH)
        for host, title, uuid in (("attic", _BOTH[0], "attic-web-1"), ("cellar", _BOTH[1], "cellar-web-1")):
            (key,) = [m["key"] for m in listed if m["uuid"] == uuid]
            for reference in (title, title.upper(), uuid, key):
                answer = await each.http.get(f"/v1/machines/{quote(reference, safe='')}")
                assert answer.status_code == 200, answer.text
                assert (answer.json()["host"], answer.json()["title"]) == (host, title)
        assert (await each.http.get("/v1/machines/db-1")).json()["title"] == "db-1"


async def test_an_ended_update_is_told_with_its_host_where_others_have_the_name_now(inn: Inn) -> None:
    """At a door whose server has neither machine; nor is it shown for a role on the plain name."""
    north, _ = inn
    neighbours, ownership = north.house.neighbours, north.house.ownership
    assert neighbours is not None
    assert ownership is not None
    hosts = [
        HostEntry(host_id=f"{name}-id", name=name, uri=f"test:///{name}", server="east") for name in _FAR
    ]
    entries = [
        MachineEntry(
            key=f"{name}-id/{name}-cache",
            host_id=f"{name}-id",
            host=name,
            name="cache",
            uuid=f"{name}-cache",
            state=MachineState.TURNED_OFF,
            labels=(),
            summary="{}",
        )
        for name in _FAR
    ]
    booked = await north.http.post("/v1/updates", json={"machine": "mail", "identifier": "far", "label": "l"})
    assert booked.status_code == 201, booked.text
    store = north.house.bookings._store
    mail = await store.delete(booked.json()["key"], "far")
    assert mail is not None
    ended = dataclasses.replace(mail, machine="cache", key=entries[0].key, verdict=Verdict.NOT_STARTED)
    await store.put(ended)
    await north.directory.put_hosts(hosts)
    await north.directory.update(entries, ())
    try:
        neighbours._shared_at = float("-inf")
        listed = await north.http.get("/v1/updates", params={"ended": True, "machine": "barn/cache"})
        (row,) = listed.json()["updates"]
        assert row["machine"] == "barn/cache"
        shown = await north.http.get("/v1/updates/barn%2Fcache/far")
        assert shown.json()["update"]["machine"] == "barn/cache"
    finally:
        await store.delete(entries[0].key, "far")
        await north.directory.update((), [entry.key for entry in entries])
        await ownership._leases.keep(ownership.server.id, {fence.uri for fence in ownership.fences})
        neighbours._shared_at = float("-inf")


async def test_a_role_on_the_plain_name_covers_neither(namesakes: Inn) -> None:
    """It would have been given on another's machine by whoever defined that; one on the whole name holds."""
    north, south = namesakes
    plain = Grant(role=Role.OPERATOR, reach=Reach.MACHINE, name="web-1")
    whole = Grant(role=Role.OPERATOR, reach=Reach.MACHINE, name="attic/web-1")
    (entry,) = await south.directory.with_uuid("attic-web-1")
    for resource in (machine_called(north.house, "attic/web-1"), resource_of(entry)):
        assert not plain.covers(resource)
        assert whole.covers(resource)
    unique = machine_called(north.house, "mail")
    assert Grant(role=Role.OPERATOR, reach=Reach.MACHINE, name="mail").covers(unique)


async def test_a_window_on_the_plain_name_is_for_neither(namesakes: Inn) -> None:
    """Nor does a command or a scheduled task by that name find one."""
    for each, title in zip(namesakes, _BOTH, strict=True):
        name = MachineName.of(await each.house.machines.get(title))
        assert not selector(("web-1",), ()).fullmatch(name.lines)
        assert selector((title,), ()).fullmatch(name.lines)
        with pytest.raises(MachineAmbiguous, match="attic/web-1"):
            await each.house.machines.get("web-1")


async def test_a_machine_defined_at_two_servers_is_told_at_each(twins: Inn) -> None:
    """Beside it, and in lists."""
    for each in twins:
        listed = (await each.http.get("/v1/machines")).json()["machines"]
        also_on = {m["host"]: m["also_on"] for m in listed if m["uuid"] == "attic-mail"}
        assert also_on == {"attic": ["cellar"], "cellar": ["attic"]}


async def test_a_machine_that_runs_at_another_server_is_not_started_twice(twins: Inn) -> None:
    """Nor while a task there holds it; whichever door is asked."""
    north, south = twins
    started = (await south.http.post("/v1/machines/post/startup", json={})).json()["task"]["id"]
    await south.house.tasks.wait(started)

    async def runs() -> bool:
        (entry,) = [e for e in await north.directory.with_uuid("attic-mail") if e.host == "cellar"]
        return entry.state is MachineState.RUNNING

    await heard(twins, runs)
    for each in twins:
        refused = await each.http.post("/v1/machines/mail/startup", json={})
        assert refused.status_code == 409, refused.text
        assert "is running on the host cellar already: it is defined on both" in refused.json()["detail"]
    assert (await north.host.inventory.get("mail")).state is MachineState.TURNED_OFF


async def test_a_booking_of_each_of_two_definitions_is_planned_once(twins: Inn) -> None:
    """By the server of its host alone, which finds the machine that it is for."""
    north, south = twins
    keys = [f"{north.host.id}/attic-mail", f"{south.host.id}/attic-mail"]
    for key in keys:
        booked = {"machine": key, "identifier": "u", "label": "l"}
        assert (await north.http.post("/v1/updates", json=booked)).status_code == 201
    for each in twins:
        night = await each.house.trigger.tonight()
        assert {entry.key: entry.host for entry in night.entries} == {
            key: each.host.name if key.startswith(each.host.id) else "" for key in keys
        }
        entries = (await each.http.get("/v1/tonight")).json()["entries"]
        assert sorted(entry["machine"] for entry in entries) == ["mail", "post"]
    for key in keys:
        deleted = await north.http.delete(f"/v1/updates/{quote(key, safe='')}/u")
        assert deleted.status_code == 204, deleted.text


async def test_of_two_that_are_started_at_once_one_runs_at_the_most(twins: Inn) -> None:
    """Each start looks again right before it acts, and a live task on the other stops it."""
    north, south = twins

    async def start(each: Server, name: str) -> None:
        with contextlib.suppress(InnkeeperError):
            task = await each.house.machines.startup(name, owner="root")
            await each.house.tasks.wait(task.id)

    await asyncio.gather(start(north, "mail"), start(south, "post"))
    states = [(await north.host.inventory.get("mail")).state, (await south.host.inventory.get("post")).state]
    assert states.count(MachineState.RUNNING) < 2
    await north.host.lifecycle.turn_off("mail")


async def test_one_that_was_started_a_moment_ago_stops_a_start(
    twins: Inn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where its server has not told the others yet that it runs."""
    north, south = twins
    monkeypatch.setattr(SqlDirectory, "update", _write_nothing)
    with monkeypatch.context() as forgetful:
        forgetful.setattr("innkeeper.machines.service._NEWS", dt.timedelta(0))
        task = await north.house.machines.startup("mail", owner="root")
        await north.house.tasks.wait(task.id)
    with pytest.raises(MachineError, match="was started a moment ago on the host attic"):
        await south.house.machines.startup("post", owner="root")
    await north.host.lifecycle.turn_off("mail")


async def _write_nothing(*_: object) -> None:
    pass


async def test_a_task_on_the_twin_stops_a_start(twins: Inn, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may start the machine next, or be merging its disks."""
    monkeypatch.setattr("innkeeper.machines.service._NEWS", dt.timedelta(0))
    north, south = twins
    over = asyncio.Event()

    async def hold(task: RunningTask, argument: Mapping[str, Json]) -> None:
        await over.wait()

    south.house.tasks.register("hold", hold)
    twin = await south.host.inventory.get("post")
    task = await south.house.tasks.start("hold", "Hold it", {}, lock=f"machine:{twin.key}")
    with pytest.raises(MachineError, match="is held by a task on the host cellar"):
        await north.house.machines.startup("mail", owner="root")
    over.set()
    await south.house.tasks.wait(task.id)
    await north.house.machines.refuse_second(await north.house.machines.get("mail"))
