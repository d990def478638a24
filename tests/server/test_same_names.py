"""Machines of one name on two hosts are told apart everywhere, and never taken for one another."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from innkeeper.cli.terminal import completed
from innkeeper.errors import ErrorCode, MachineAmbiguous, MachineError, MachineNotFound
from innkeeper.hypervisor.simulated.agents import FakeAgents
from innkeeper.hypervisor.simulated.host import SimulatedHost, simulated_host
from innkeeper.hypervisor.simulated.machines import SimulatedMachine
from innkeeper.identity.caller import LOCAL_REALM
from innkeeper.identity.granted import Granted
from innkeeper.identity.roles import Grant, Reach, Role
from innkeeper.machines.machine import MachineState
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.model.enumerations import ActionType
from innkeeper.schedule.registered import Run
from innkeeper.schedule.xml.encoding import Encoding
from innkeeper.server.app import make_app
from innkeeper.server.compose import open_house
from innkeeper.server.compose_base import Overrides
from innkeeper.server.house import House
from innkeeper.server.identity.subjects import machine_called
from innkeeper.server.pages import rendering
from innkeeper.server.settings import Settings
from innkeeper.tasks.clock import FakeClock
from innkeeper.wire.commands import Command
from innkeeper.wire.events import Event
from innkeeper.wire.messages import MachineMessage
from tests.server.test_host_calls import as_root

_BOTH = ("attic/web-1", "cellar/WEB-1")


@dataclasses.dataclass
class Inn:
    """Two hosts, the service that has both, and its door."""

    attic: SimulatedHost
    cellar: SimulatedHost
    house: House
    door: httpx.AsyncClient

    async def states(self) -> tuple[MachineState, MachineState]:
        """The states of the two machines of one name."""
        on_attic = await self.attic.inventory.get("web-1")
        return on_attic.state, (await self.cellar.inventory.get("WEB-1")).state


@pytest.fixture
async def inn(tmp_path: Path) -> AsyncIterator[Inn]:
    """``web-1`` is on the attic, ``WEB-1`` in the cellar, and ``db-1`` in the cellar alone."""
    clock = FakeClock(speed=1000)
    heard: list[Event] = []
    hosts = []
    for name in ("attic", "cellar"):
        host = simulated_host(tmp_path / name, clock=clock, publish=heard.append, name=name)
        await host.connection.open()
        hosts.append(host)
    attic, cellar = hosts
    await attic.simulation.add(SimulatedMachine(name="web-1", uuid="uuid-a"))
    await cellar.simulation.add(SimulatedMachine(name="WEB-1", uuid="uuid-c"))
    await cellar.simulation.add(SimulatedMachine(name="db-1", uuid="uuid-d"))
    agents = FakeAgents(attic.simulation, cellar.simulation, clock=clock)
    settings = Settings(state_dir=tmp_path / "state", socket=tmp_path / "s.sock")
    overrides = Overrides(hypervisors=hosts, clock=FakeClock(), agents=agents)
    async with open_house(settings, overrides) as house:
        transport = httpx.ASGITransport(as_root(make_app(house)))
        async with httpx.AsyncClient(transport=transport, base_url="http://innkeeper") as door:
            yield Inn(attic, cellar, house, door)


def at(reference: str, what: str = "") -> str:
    """The address of a machine."""
    return f"/v1/machines/{quote(reference, safe='')}{what}"


@pytest.mark.parametrize("called", ["web-1", "WEB-1", "Web-1"])
async def test_a_name_of_two_is_refused_with_both_offered(inn: Inn, called: str) -> None:
    """By every door, whatever the case of the letters."""
    for response in (
        await inn.door.get(at(called)),
        await inn.door.get(at(called, "/configuration")),
        await inn.door.post(at(called, "/start")),
        await inn.door.post("/v1/updates", json={"machine": called, "identifier": "u", "label": "l"}),
        await inn.door.get("/v1/updates", params={"machine": called}),
        await inn.door.get("/v1/tasks", params={"machine": called}),
        await inn.door.get("/v1/channels", params={"machine": called}),
        await inn.door.get(at(called, "/check")),
    ):
        assert response.status_code == 409, response.text
        assert response.json()["code"] == ErrorCode.VM_E_CONFIG_DUPLICATE_NAME.name
        assert all(name in response.json()["detail"] for name in _BOTH)
    assert await inn.states() == (MachineState.TURNED_OFF, MachineState.TURNED_OFF)


@pytest.mark.parametrize(
    ("called", "on_attic"),
    [("attic/web-1", True), ("ATTIC/Web-1", True), ("cellar/WEB-1", False), ("cellar/web-1", False),
     ("uuid-a", True), ("uuid-c", False), ("attic/uuid-a", True)],
)  # fmt: skip
async def test_a_command_goes_to_the_machine_that_is_named(inn: Inn, called: str, on_attic: bool) -> None:
    """By its host and name, its UUID, or its host and UUID; to no other."""
    response = await inn.door.post(at(called, "/start"))
    assert response.status_code == 202, response.text
    await inn.house.tasks.wait(response.json()["task"]["id"])
    started = MachineState.RUNNING, MachineState.TURNED_OFF
    assert await inn.states() == (started if on_attic else started[::-1])
    assert response.json()["task"]["about"] == (_BOTH[0] if on_attic else _BOTH[1])


async def test_a_key_means_a_machine_for_ever(inn: Inn) -> None:
    """By the API too, as it is told there."""
    listed = (await inn.door.get("/v1/machines")).json()["machines"]
    assert [each["title"] for each in listed] == ["cellar/WEB-1", "db-1", "attic/web-1"]
    for each in listed:
        again = (await inn.door.get(at(each["key"]))).json()
        assert (again["host_id"], again["uuid"], again["name"]) == (
            each["host_id"], each["uuid"], each["name"],
        )  # fmt: skip
        assert each["key"] == f"{each['host_id']}/{each['uuid']}"


async def test_what_is_unique_needs_no_host(inn: Inn) -> None:
    """With its host it means the same."""
    assert (await inn.house.machines.get("DB-1")).title == "db-1"
    assert (await inn.house.machines.get("cellar/db-1")).uuid == "uuid-d"
    for unknown in ("attic/db-1", "loft/db-1", "attic/uuid-d"):
        with pytest.raises(MachineNotFound):
            await inn.house.machines.get(unknown)


async def test_locks_of_the_two_are_apart(inn: Inn) -> None:
    """A task on one holds nothing of the other."""
    tasks = [await inn.house.machines.command(each, Command.STARTUP, owner="ana") for each in _BOTH]
    assert len({task.lock for task in tasks}) == 2
    for task in tasks:
        await inn.house.tasks.wait(task.id)
    assert await inn.states() == (MachineState.RUNNING, MachineState.RUNNING)


async def test_bookings_of_the_two_are_apart(inn: Inn) -> None:
    """With the same identifier; each is read, listed and deleted for itself."""
    for called in _BOTH:
        body = {"machine": called, "identifier": "u", "label": called, "start": "2030-01-01T00:00:00Z"}
        assert (await inn.door.post("/v1/updates", json=body)).status_code == 201
    listed = (await inn.door.get("/v1/updates")).json()["updates"]
    assert sorted(each["machine"] for each in listed) == sorted(_BOTH)
    address = f"/v1/updates/{quote('attic/web-1', safe='')}/u"
    assert (await inn.door.get(address)).json()["update"]["label"] == "attic/web-1"
    assert (await inn.door.delete(address)).status_code == 204
    left = (await inn.door.get("/v1/updates")).json()["updates"]
    assert [each["machine"] for each in left] == ["cellar/WEB-1"]


@pytest.mark.parametrize(
    ("called", "title"), [("DB-1", "db-1"), ("attic/web-1", "attic/web-1"), ("uuid-d", "db-1")]
)
async def test_a_booking_that_is_not_there_is_told_with_the_machines_title(
    inn: Inn, called: str, title: str
) -> None:
    """Its key says nothing to people."""
    address = f"/v1/updates/{quote(called, safe='')}/x"
    for response in (await inn.door.get(address), await inn.door.delete(address)):
        assert response.status_code == 404
        assert response.json()["detail"] == f"No update “x” is booked for {title}."


async def test_a_booking_stays_with_a_machine_that_gets_another_name(inn: Inn) -> None:
    """And is not for another machine that gets the former one."""
    body = {"machine": "db-1", "identifier": "u", "label": "l", "start": "2030-01-01T00:00:00Z"}
    assert (await inn.door.post("/v1/updates", json=body)).status_code == 201
    changed = await inn.door.patch(at("db-1"), json={"name": "db-2"})
    assert changed.status_code == 200, changed.text
    await inn.attic.simulation.add(SimulatedMachine(name="db-1", uuid="uuid-new"))
    await inn.house.machines.list()
    (booking,) = (await inn.door.get("/v1/updates")).json()["updates"]
    assert booking["machine"] == "db-2"
    assert (await inn.door.get("/v1/updates/db-1/u")).status_code == 404


async def test_a_window_is_for_the_machine_that_was_named(inn: Inn) -> None:
    """A name of two is refused; one with its host is kept by its UUID; globs may name hosts."""
    window = {
        "name": "night", "zone": "UTC", "opens_at": "20:00", "duration_seconds": 3600, "weekdays": ["mon"],
    }  # fmt: skip
    refused = await inn.door.put("/v1/windows/night", json=window | {"machines": ["web-1"]})
    assert refused.status_code == 409, refused.text
    assert all(name in refused.json()["detail"] for name in _BOTH)
    made = await inn.door.put("/v1/windows/night", json=window | {"machines": ["attic/web-1", "cellar/d*"]})
    assert made.status_code in (200, 201), made.text
    assert (await inn.house.windows.get("night")).pins == (("attic/web-1", "uuid-a"),)


async def test_a_role_on_one_is_no_role_on_the_other(inn: Inn) -> None:
    """A plain name means nobody where two have it."""
    await inn.house.board.all()
    attic, cellar = (machine_called(inn.house, each) for each in _BOTH)
    on_attic = Grant(role=Role.OPERATOR, reach=Reach.MACHINE, name="attic/web-1")
    plain = dataclasses.replace(on_attic, name="web-1")
    assert (on_attic.covers(attic), on_attic.covers(cellar)) == (True, False)
    assert not plain.covers(attic)
    assert not plain.covers(cellar)
    only = machine_called(inn.house, "db-1")
    for name in ("db-1", "cellar/db-1"):
        assert dataclasses.replace(on_attic, name=name).covers(only)


async def _as_ana(inn: Inn, *grants: Grant) -> httpx.BasicAuth:
    """Have an account with these roles, and return what it proves itself by."""
    password = "a long enough password"  # of an account that lives for one test
    await inn.house.people.accounts.add("ana", password)
    for grant in grants:
        await inn.house.people.grants.give(
            Granted(realm=LOCAL_REALM, name="ana", is_group=False, grant=grant)
        )
    return httpx.BasicAuth("ana@local", password)


@pytest.mark.parametrize("grant", [(Reach.MACHINE, "attic/web-1"), (Reach.LABEL, "lab")])
async def test_a_name_means_what_the_caller_sees(inn: Inn, grant: tuple[Reach, str]) -> None:
    """A namesake that they may not see is not told of, and is nothing to them."""
    await inn.attic.simulation.forget("web-1")
    await inn.attic.simulation.add(SimulatedMachine(name="web-1", uuid="uuid-a", labels=["lab"]))
    inn.house.board.look_again()
    await inn.house.board.all()
    reach, name = grant
    ana = await _as_ana(inn, Grant(role=Role.OPERATOR, reach=reach, name=name))
    body = {"machine": "web-1", "identifier": "u", "label": "l", "start": "2030-01-01T00:00:00Z"}
    for response in (
        await inn.door.get(at("web-1"), auth=ana),
        await inn.door.get(at("Web-1", "/configuration"), auth=ana),
        await inn.door.get(at("web-1", "/check"), auth=ana),
        await inn.door.post("/v1/updates", json=body, auth=ana),
        await inn.door.get("/v1/updates/web-1/u", auth=ana),
        await inn.door.get("/v1/updates", params={"machine": "web-1"}, auth=ana),
        await inn.door.get("/v1/tasks", params={"machine": "web-1"}, auth=ana),
        await inn.door.get("/v1/channels", params={"machine": "web-1"}, auth=ana),
        await inn.door.post(at("WEB-1", "/start"), auth=ana),
    ):
        assert response.status_code < 300, response.text
        assert "cellar/WEB-1" not in response.text
        assert "attic/web-1" not in response.text
    await inn.house.tasks.wait(response.json()["task"]["id"])
    assert await inn.states() == (MachineState.RUNNING, MachineState.TURNED_OFF)
    assert (await inn.door.get(at("web-1"))).status_code == 409


async def test_a_name_means_what_the_caller_sees_from_the_first_request_on(inn: Inn) -> None:
    """Though no host was looked at before: the names of machines are waited for."""
    ana = await _as_ana(inn, Grant(role=Role.OPERATOR, reach=Reach.MACHINE, name="attic/web-1"))
    inn.house.board._looked_at = float("-inf")
    inn.house.board._notices.clear()
    shown = await inn.door.get(at("web-1"), auth=ana)
    assert shown.status_code == 200, shown.text
    assert (shown.json()["host"], shown.json()["title"]) == ("attic", "web-1")


async def test_one_whose_namesake_is_hidden_is_told_by_its_plain_name(inn: Inn) -> None:
    """In lists, lines, answers, refusals and pages; where both are seen, with their hosts."""
    await asyncio.to_thread(rendering.load)
    await inn.house.board.all()
    ana = await _as_ana(inn, Grant(role=Role.VIEWER, reach=Reach.MACHINE, name="attic/web-1"))
    body = {"machine": "attic/web-1", "identifier": "u", "label": "l", "start": "2030-01-01T00:00:00Z"}
    assert (await inn.door.post("/v1/updates", json=body)).status_code == 201
    lines = {"accept": "application/x-ndjson"}
    for response in (
        await inn.door.get("/v1/machines", auth=ana),
        await inn.door.get("/v1/machines", auth=ana, headers=lines),
        await inn.door.get("/v1/updates", auth=ana),
        await inn.door.get("/v1/tonight", auth=ana),
        await inn.door.get("/v1/checks", auth=ana),
        await inn.door.post(at("attic/web-1", "/start"), auth=ana),
        await inn.door.get("/machines", auth=ana),
        await inn.door.get("/machines/web-1", auth=ana),
    ):
        assert "web-1" in response.text, response.text
        for told in ("attic/web-1", "attic%2Fweb-1", "cellar/WEB-1"):
            assert told not in response.text, _around(told, response.text)
    (listed,) = (await inn.door.get("/v1/machines", auth=ana)).json()["machines"]
    assert (listed["title"], listed["host"]) == ("web-1", "attic")
    await inn.house.people.grants.give(
        Granted(
            realm=LOCAL_REALM,
            name="ana",
            is_group=False,
            grant=Grant(role=Role.VIEWER, reach=Reach.MACHINE, name="cellar/WEB-1"),
        )
    )
    both = (await inn.door.get("/v1/machines", auth=ana)).json()["machines"]
    assert sorted(each["title"] for each in both) == sorted(_BOTH)


def _around(text: str, where: str) -> str:
    return where[max(where.find(text) - 200, 0) :][:400]


async def test_a_machine_of_a_shared_name_is_unregistered_by_its_host_and_name(inn: Inn) -> None:
    """Its namesake stays."""
    answer = await inn.door.post(at("attic/web-1", "/unregister"))
    assert answer.status_code == 200, answer.text
    assert answer.json()["machine"] == "attic/web-1"
    assert [each.title for each in await inn.house.machines.list()] == ["WEB-1", "db-1"]


async def test_a_name_of_two_that_the_caller_may_not_see_is_not_there(inn: Inn) -> None:
    """In the very words of one that does not exist."""
    ana = await _as_ana(inn, Grant(role=Role.OPERATOR, reach=Reach.MACHINE, name="db-1"))
    body = {"identifier": "u", "label": "l", "start": "2030-01-01T00:00:00Z"}

    async def responses(name: str) -> list[tuple[int, str]]:
        asked = (
            await inn.door.get(at(name), auth=ana),
            await inn.door.get(at(name, "/check"), auth=ana),
            await inn.door.post(at(name, "/start"), auth=ana),
            await inn.door.post("/v1/updates", json={**body, "machine": name}, auth=ana),
            await inn.door.get(f"/v1/updates/{name}/u", auth=ana),
            await inn.door.delete(f"/v1/updates/{name}/u", auth=ana),
            await inn.door.get("/v1/updates", params={"machine": name}, auth=ana),
            await inn.door.get("/v1/tasks", params={"machine": name}, auth=ana),
            await inn.door.get("/v1/channels", params={"machine": name}, auth=ana),
        )
        return [(each.status_code, each.text.replace(name, "NAME")) for each in asked]

    hidden = await responses("web-1")
    assert hidden == await responses("web-7")
    assert hidden[0][0] == 404
    assert not any("attic" in text or "cellar" in text for _, text in hidden)


async def test_a_machine_that_runs_elsewhere_is_not_started_twice(inn: Inn) -> None:
    """Defined on two hosts, as a migration leaves it: its disks are the same."""
    await inn.attic.simulation.add(SimulatedMachine(name="db-1", uuid="uuid-d"))
    await inn.house.machines.list()
    task = await inn.house.machines.command("cellar/db-1", Command.STARTUP, owner="ana")
    await inn.house.tasks.wait(task.id)
    twice = await inn.house.machines.get("attic/db-1")
    assert twice.also_on == ("cellar",)
    with pytest.raises(MachineError, match="cellar") as refused:
        await inn.house.machines.command("attic/db-1", Command.STARTUP, owner="ana")
    assert refused.value.code is ErrorCode.ERROR_ALREADY_EXISTS
    assert not (await inn.house.checks.one("attic/db-1")).can_be_maintained


async def test_a_key_goes_with_its_machine_to_another_host(inn: Inn) -> None:
    """It was migrated: what is booked for it follows."""
    machine = await inn.house.machines.get("db-1")
    await inn.cellar.definitions.undefine("db-1")
    await inn.attic.simulation.add(SimulatedMachine(name="db-1", uuid="uuid-d"))
    await inn.house.machines.list()
    moved = await inn.house.machines.get(machine.key)
    assert (moved.host, moved.uuid) == ("attic", "uuid-d")


async def test_a_booking_follows_its_machine_to_another_host(inn: Inn) -> None:
    """It is migrated: one look later the booking is of the new host's, and is planned there."""
    key = (await inn.house.machines.get("db-1")).key
    body = {"machine": "db-1", "identifier": "u", "label": "l", "start": "2030-01-01T00:00:00Z"}
    assert (await inn.door.post("/v1/updates", json=body)).status_code == 201
    (entry,) = (await inn.house.trigger.tonight()).entries
    assert (entry.host, entry.key) == ("cellar", key)
    await inn.cellar.definitions.undefine("db-1")
    await inn.attic.simulation.add(SimulatedMachine(name="db-1", uuid="uuid-d"))
    moved = await _until_followed(inn, key)
    assert moved == (await inn.house.machines.get("attic/db-1")).key != key
    (booking,) = (await inn.door.get("/v1/updates")).json()["updates"]
    assert booking["machine"] == "db-1"
    assert (await inn.door.delete("/v1/updates/attic%2Fdb-1/u")).status_code == 204


async def _until_followed(inn: Inn, former: str) -> str:
    """The key that the only booking has in the plan, once it is another."""
    while True:
        (entry,) = (await inn.house.trigger.tonight()).entries
        if entry.key != former and entry.host == "attic":
            return entry.key
        await asyncio.sleep(0.01)


async def test_a_scheduled_task_about_a_name_of_two_starts_neither(inn: Inn) -> None:
    """Its instance ends with both names to choose from; with the host before it the right one is started."""
    before = await inn.states()
    run = await _called(inn, "web-1")
    assert (run.result, await inn.states()) == (ErrorCode.VM_E_CONFIG_DUPLICATE_NAME, before)
    assert all(name in run.reason for name in _BOTH)
    run = await _called(inn, "cellar/web-1")
    assert (run.result, await inn.states()) == (0, (before[0], MachineState.RUNNING))


@pytest.mark.parametrize(
    ("called", "status", "code"),
    [
        ("web-1", 409, ErrorCode.VM_E_CONFIG_DUPLICATE_NAME),
        ("nobody", 404, ErrorCode.VM_E_VM_UNKNOWN),
        ("loft/web-1", 404, ErrorCode.VM_E_VM_UNKNOWN),
        ("attic/web-1", 201, None),
        ("db-1", 201, None),
        ("$(Arg0)", 201, None),
    ],
)
async def test_a_scheduled_task_is_registered_for_one_machine_that_is_there(
    inn: Inn, called: str, status: int, code: ErrorCode | None
) -> None:
    """What would fail at night is refused at once; also a second operation, and where it is only checked."""
    xml = _starting(called).to_xml(Encoding.UTF_8).decode()
    both = _starting("db-1", called).to_xml(Encoding.UTF_8).decode()
    for body in ({"path": "\\t", "xml": xml}, {"path": "\\u", "xml": both}, {"xml": xml, "flags": 1}):
        answer = await inn.door.post("/v1/schedule/task", json=body)
        assert answer.status_code == status, answer.text
        if code is not None:
            assert answer.json()["code"] == code.name
            assert called in answer.json()["detail"]
        if status == 409:
            assert all(name in answer.json()["detail"] for name in _BOTH)


async def test_a_machine_whose_host_is_away_can_be_scheduled(inn: Inn) -> None:
    """It is known, and another of which nobody can know now is no “not found”."""
    await inn.house.board.all()
    inn.cellar.simulation.condition.elsewhere = "it is away"
    body = {"path": "\\t", "xml": _starting("db-1").to_xml(Encoding.UTF_8).decode()}
    assert (await inn.door.post("/v1/schedule/task", json=body)).status_code == 201
    body["xml"] = _starting("nobody").to_xml(Encoding.UTF_8).decode()
    refused = await inn.door.post("/v1/schedule/task", json=body)
    assert refused.json()["code"] == ErrorCode.ERROR_ONLY_IF_CONNECTED.name, refused.text
    assert "cellar" in refused.json()["detail"]


async def test_a_folders_administrator_schedules_no_operation_and_learns_of_no_machine(inn: Inn) -> None:
    """Each is refused in the same words, whether they may command it or do not see it, or nobody has it."""
    folder = Grant(role=Role.ADMINISTRATOR, reach=Reach.FOLDER, name="\\Ana")
    see = Grant(role=Role.VIEWER, reach=Reach.MACHINE, name="db-1")
    ana = await _as_ana(inn, folder, see, Grant(role=Role.OPERATOR, reach=Reach.MACHINE, name="attic/web-1"))

    told = set()
    for called in ("attic/web-1", "db-1", "cellar/WEB-1", "web-1", "nobody"):
        body = {"path": "\\Ana\\t", "xml": _starting(called).to_xml(Encoding.UTF_8).decode(), "flags": 6}
        answer = await inn.door.post("/v1/schedule/task", json=body, auth=ana)
        assert answer.status_code == 403, answer.text
        told.add(answer.json()["detail"])
    (words,) = told
    assert "may not have a task call Innkeeper's own operations" in words


async def test_a_window_tells_which_names_nobody_has(inn: Inn) -> None:
    """It may be made before its machine; words of selectors are none of a window's."""
    window = {
        "name": "night",
        "zone": "UTC",
        "opens_at": "20:00",
        "duration_seconds": 60,
        "weekdays": ["mon"],
    }
    named = ["attic/web-1", "nobody", "DB-1", "uuid-d", "none-*", "loft/db-1", "all"]
    for method, path in (("POST", "/v1/windows"), ("PUT", "/v1/windows/night")):
        made = await inn.door.request(method, path, json=window | {"machines": named})
        assert made.status_code in (200, 201), made.text
        assert made.json()["unknown"] == ["nobody", "loft/db-1"]
    tag = (await inn.door.get("/v1/windows/night")).headers["etag"]
    again = await inn.door.put(
        "/v1/windows/night", json=window | {"machines": named}, headers={"If-Match": tag}
    )
    assert again.status_code == 200, again.text
    refused = await inn.door.post("/v1/windows", json=window | {"machines": ["db-1", "host:attic"]})
    assert refused.status_code == 422
    assert "host:attic" in refused.json()["detail"]


async def test_a_windows_name_that_others_get_is_told_in_full_and_can_be_sent_again(inn: Inn) -> None:
    """It means the machine that it meant; its ETag, read before, holds."""
    window = {
        "name": "night", "zone": "UTC", "opens_at": "20:00", "duration_seconds": 60, "weekdays": ["mon"],
        "machines": ["db-1", "web-*"],
    }  # fmt: skip
    assert (await inn.door.post("/v1/windows", json=window)).status_code == 201
    tag = (await inn.door.get("/v1/windows/night")).headers["etag"]
    await inn.attic.simulation.add(SimulatedMachine(name="DB-1", uuid="uuid-e"))
    await inn.house.machines.list()
    (told,) = (await inn.door.get("/v1/windows")).json()["windows"]
    assert told["machines"] == ["cellar/db-1", "web-*"]
    assert (await inn.door.get("/v1/windows/night")).json()["machines"] == told["machines"]
    again = await inn.door.put("/v1/windows/night", json=window, headers={"If-Match": tag})
    assert again.status_code == 200, again.text
    assert again.json()["machines"] == told["machines"]
    assert (await inn.house.windows.get("night")).pins == (("db-1", "uuid-d"),)
    full = await inn.door.put("/v1/windows/night", json=window | {"machines": told["machines"]})
    assert full.status_code == 200, full.text
    assert (await inn.house.windows.get("night")).pins == (("cellar/db-1", "uuid-d"),)


def _starting(*machines: str) -> TaskDefinition:
    """A task that starts machines, one after the other."""
    definition = TaskDefinition.new()
    for machine in machines:
        action = definition.actions.create(ActionType.COM_HANDLER)
        action.class_id, action.data = Command.STARTUP.class_id, machine
    return definition


async def _called(inn: Inn, machine: str) -> Run:
    """The run, at its end, of a scheduled task that starts a machine."""
    schedule = inn.house.schedule
    task = await schedule.registry.register("\\t", _starting(machine), owner="ana")
    begun = await schedule.scheduler.start(task)
    while True:
        runs = {run.id: run for run in await schedule.scheduler.history(task)}
        if not runs[begun.id].state.is_live:
            return runs[begun.id]
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("", ["attic/web-1", "cellar/WEB-1", "db-1"]),
        ("db", ["db-1"]),
        ("cellar/", ["cellar/WEB-1", "cellar/db-1"]),
        ("ATTIC/w", ["attic/web-1"]),
        ("web", ["attic/web-1", "cellar/WEB-1"]),
        ("loft/", []),
    ],
)
async def test_the_shell_completes_hosts_and_names(inn: Inn, typed: str, offered: list[str]) -> None:
    """What is typed may be the name or begin with the host; a name of several is offered with their hosts."""
    listed = [
        MachineMessage.model_validate(each)
        for each in (await inn.door.get("/v1/machines")).json()["machines"]
    ]
    assert sorted(completed(listed, typed)) == sorted(offered)


async def test_a_second_machine_of_a_name_is_heard_of(inn: Inn) -> None:
    """The name is refused from then on, though it was asked for before."""
    await inn.house.machines.get("db-1")
    await inn.attic.simulation.add(SimulatedMachine(name="db-1", uuid="uuid-e"))
    await inn.house.machines.list()
    with pytest.raises(MachineAmbiguous):
        await inn.house.machines.get("db-1")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/updates/cancel", {"select": "web-1"}),
        ("/v1/updates/book", {"select": "db-1 or web-1", "identifier": "u", "allow_empty": False}),
        ("/v1/machines/label", {"select": "Web-1", "add": ["x"]}),
        (
            "/v1/roles",
            {"realm": "local", "holder": "ana", "role": "operator", "reach": "machine", "name": "web-1"},
        ),
    ],
)
async def test_one_name_in_what_acts_on_many_means_one_machine(
    inn: Inn, path: str, body: dict[str, object]
) -> None:
    """Refused with both offered, while a pattern or ``name:`` means all that it fits."""
    refused = await inn.door.post(path, json=body)
    assert refused.status_code == 409, refused.text
    assert all(called in refused.json()["detail"] for called in _BOTH)
    both = await inn.door.post("/v1/machines/label", json={"select": "name:web-1", "add": ["x"]})
    assert len(both.text.splitlines()) == 2
