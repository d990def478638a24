"""Machines of a host that hangs while its server lives: the same ones are meant at every server's door."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from urllib.parse import quote

import httpx
import pytest

from innkeeper.errors import ErrorCode
from innkeeper.hypervisor.simulated import failures
from innkeeper.hypervisor.simulated.failures import Failure
from innkeeper.servers.lease import Reach
from tests.server.relay.two_servers import Server

Inn = tuple[Server, Server]

FIELDS = {"label": "Security", "identifier": "one", "start": "2099-01-01T00:00:00Z"}
AWAY = "The machine's host does not answer."


@contextlib.asynccontextmanager
async def hanging(server: Server) -> AsyncIterator[None]:
    """A server's host takes calls, and answers none."""
    await seen(server)
    server.failures.put(server.host.name, Failure.HUNG)
    try:
        await seen(server)
        yield
    finally:
        server.failures.put(server.host.name, None)
        await seen(server)


async def seen(server: Server) -> None:
    """What the server sees of its hosts now is written down for the others."""
    await looked(server)
    server.house.board.look_again()
    server.keeper._hosts_seen_at = float("-inf")
    await server.keeper.look()
    await looked(server)


async def looked(server: Server) -> None:
    """A look at the server's hosts that has begun before is over: it tells what it saw then."""
    if (looking := server.house.board._looking) is not None:
        await asyncio.wait({looking})


@pytest.fixture(autouse=True)
async def awake(inn: Inn) -> None:
    """Both servers have stood still while this process ran tests of other files."""
    for each in inn:
        await seen(each)


@pytest.fixture
async def hung(inn: Inn) -> AsyncIterator[Inn]:
    """An inn whose host ``attic`` hangs."""
    async with hanging(inn[0]):
        yield inn


def lines_of(answer: httpx.Response) -> Sequence[Mapping[str, str]]:
    """The lines of an act on many machines, by machine."""
    assert answer.status_code == 200, answer.text
    return sorted(map(json.loads, answer.text.splitlines()), key=lambda line: (line["host"], line["machine"]))


@pytest.mark.parametrize("door", [0, 1])
async def test_machines_are_listed_as_seen_last(hung: Inn, door: int) -> None:
    """With the moment, all in the list and each alone; those of other hosts as they are."""
    http = hung[door].http
    machines = (await http.get("/v1/machines")).json()["machines"]
    assert {m["title"] for m in machines if m["host"] == "attic"} == {"mail", "attic/twin", "web-1"}
    assert {m["host"] for m in machines if m["as_of"] is not None} == {"attic"}
    assert {m["host"] for m in machines if m["as_of"] is None} == {"cellar"}
    assert (await http.get("/v1/machines/mail")).json()["as_of"] is not None


async def test_machines_are_as_they_are_once_it_answers(inn: Inn) -> None:
    """Nothing is left of that it did not."""
    async with hanging(inn[0]):
        pass
    for each in inn:
        machines = (await each.http.get("/v1/machines")).json()["machines"]
        assert [m["as_of"] for m in machines] == [None] * len(machines)


async def test_what_a_server_has_not_met_since_its_start_is_in_the_directory(
    hung: Inn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is listed as of when another start of it, or another server, saw it last; alone too."""
    north, _ = hung
    board = north.house.board
    monkeypatch.setattr(board, "_answered", {})
    board.look_again()
    machines = (await north.http.get("/v1/machines", params={"host": "attic"})).json()["machines"]
    assert {m["name"] for m in machines if m["as_of"] is not None} == {"mail", "twin", "web-1"}
    booked = lines_of(await north.http.post("/v1/updates/book", json={**FIELDS, "select": "host:attic"}))
    assert {line["outcome"] for line in booked} == {"done"}
    cancelled = lines_of(await north.http.post("/v1/updates/cancel", json={"select": "host:attic"}))
    assert len(cancelled) == len(booked)
    labelled = {"select": "mail", "add": ["x"]}
    (line,) = lines_of(await north.http.post("/v1/machines/label", json=labelled))
    assert (line["outcome"], line["code"]) == ("refused", ErrorCode.ERROR_ONLY_IF_CONNECTED.name)


@pytest.mark.parametrize("door", [0, 1])
async def test_an_act_on_many_machines_means_those_of_every_host(hung: Inn, door: int) -> None:
    """Booked, put into a window and taken back; a label lies at the host, and each is told as refused."""
    http = hung[door].http
    booked = lines_of(await http.post("/v1/updates/book", json={**FIELDS, "select": "all"}))
    assert [(line["host"], line["machine"], line["outcome"]) for line in booked] == [
        ("attic", "attic/twin", "done"),
        ("attic", "mail", "done"),
        ("attic", "web-1", "done"),
        ("cellar", "cellar/twin", "done"),
        ("cellar", "db-1", "done"),
        ("cellar", "db-2", "done"),
        ("cellar", "db-3", "done"),
    ]
    opening = {"opens_at": "22:00", "duration_seconds": 3600, "dates": ["2099-01-01"]}
    window = {"name": "nights", "machines": ["db-1"], **opening}
    assert (await http.post("/v1/windows", json=window)).status_code == 201
    included = await http.post("/v1/windows/nights/machines", json={"select": "host:attic"})
    assert [line["outcome"] for line in lines_of(included)] == ["done", "done", "done"]
    assert (await http.delete("/v1/windows/nights")).status_code == 204
    cancelled = lines_of(await http.post("/v1/updates/cancel", json={"select": "all"}))
    assert [line["outcome"] for line in cancelled] == ["done"] * len(booked)
    for label in ({"select": "host:attic", "add": ["x"]}, {"select": "host:attic", "remove": ["x"]}):
        labelled = lines_of(await http.post("/v1/machines/label", json=label | {"dry_run": True}))
        assert len(labelled) == 3
    labelled = lines_of(await http.post("/v1/machines/label", json={"select": "host:attic", "add": ["x"]}))
    assert [(line["outcome"], line["code"]) for line in labelled] == [
        ("refused", ErrorCode.ERROR_ONLY_IF_CONNECTED.name)
    ] * 3


async def updates_of(http: httpx.AsyncClient, machine: str) -> Sequence[Mapping[str, str]]:
    """What is booked for a machine, once every server has told its part in time."""
    async with asyncio.timeout(60):
        while (
            "innkeeper-missing-servers"
            in (answer := await http.get("/v1/updates", params={"machine": machine})).headers
        ):
            await asyncio.sleep(0.2)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["updates"])


@pytest.mark.parametrize("door", [0, 1])
async def test_an_update_of_one_machine_is_booked_shown_and_deleted(hung: Inn, door: int) -> None:
    """By whatever name: it waits, and says that the machine's host does not answer."""
    http = hung[door].http
    for name, title in {
        "mail": "mail",
        "MAIL": "mail",
        "attic/mail": "mail",
        "attic-mail": "mail",
        "attic/twin": "attic/twin",
    }.items():
        booked = await http.post("/v1/updates", json=FIELDS | {"machine": name})
        assert booked.status_code == 201, booked.text
        assert (booked.json()["machine"], booked.json()["reason"]) == (title, AWAY)
        shown = await http.get(f"/v1/updates/{quote(name, safe='')}/one")
        assert shown.json()["update"] == booked.json()
        (listed,) = await updates_of(http, name)
        assert (listed["key"], listed["reason"]) == (booked.json()["key"], AWAY)
        moved = await http.post("/v1/updates", json=FIELDS | {"machine": name, "label": "Other"})
        assert moved.json()["label"] == "Other"
        assert (await http.delete(f"/v1/updates/{quote(name, safe='')}/one")).status_code == 204
        assert (await http.get(f"/v1/updates/{quote(name, safe='')}/one")).status_code == 404


@pytest.mark.parametrize(
    "path",
    ["tonight", "hosts", "networks", "networks/unplugged", "usb", "channels", "accounts", "updates"],
)
async def test_a_server_tells_its_part_while_a_host_of_it_hangs(
    hung: Inn, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long that takes to answer: others have only so much time for the server."""
    monkeypatch.setattr(failures, "ANSWER_SECONDS", 3600.0)
    answer = await hung[1].http.get(f"/v1/{path}")
    assert answer.status_code == 200
    assert "innkeeper-missing-servers" not in answer.headers


async def test_what_is_booked_meanwhile_is_started_once_the_host_answers(inn: Inn) -> None:
    """By itself, within its window."""
    north, south = inn
    window = {"name": "ever", "machines": ["mail"], "opens_at": "00:00", "duration_seconds": 86400}
    opening = {"weekdays": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]}
    assert (await south.http.post("/v1/windows", json=window | opening)).status_code == 201
    async with hanging(north):
        booking = FIELDS | {"machine": "mail", "identifier": "back", "start": None}
        booked = await south.http.post("/v1/updates", json=booking)
        assert booked.json()["reason"] == AWAY, booked.text
    async with asyncio.timeout(60):
        while not (update := (await south.http.get("/v1/updates/mail/back")).json()["update"])["task_id"]:
            await asyncio.sleep(0.2)
        await north.house.tasks.wait(update["task_id"])
    assert (await south.http.delete("/v1/windows/ever")).status_code == 204
    assert (await south.http.delete("/v1/updates/mail/back")).status_code == 204


async def test_machines_elsewhere_are_meant_though_a_host_here_hangs(hung: Inn) -> None:
    """What is told of one of another server does not need the host."""
    north, _ = hung
    for path in ("updates", "tasks", "channels"):
        answer = await north.http.get(f"/v1/{path}", params={"machine": "db-1"})
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("door", [0, 1])
@pytest.mark.parametrize("select", ["all", "host:loft", "cache-4", "loft/cache-4"])
async def test_what_is_booked_for_a_forgotten_machine_is_cancelled_and_shown_with_its_host(
    inn: Inn, door: int, select: str
) -> None:
    """Its host was forgotten with a server that was retired: nothing but the booking tells of it."""
    http, ownership, neighbours = inn[door].http, inn[door].house.ownership, inn[door].house.neighbours
    assert ownership is not None
    assert neighbours is not None
    leases, store = ownership._leases, inn[door].house.bookings._store
    reach = Reach(host_id="loft-id", server_id="east-id", stand_in=False, name="loft")
    await leases.enter(reach)
    await leases.take("east-id", "loft-id")  # once: it keeps it
    booked = await http.post("/v1/updates", json=FIELDS | {"machine": "mail", "start": None})
    assert booked.status_code == 201, booked.text
    mail = await store.get(booked.json()["key"], "one")
    assert await store.delete(mail.of, "one") is not None
    await store.put(dataclasses.replace(mail, machine="cache-4", key="loft-id/cache-uuid"))
    neighbours.look_again()
    (entry,) = (await http.get("/v1/tonight")).json()["entries"]
    assert (entry["machine"], entry["host"]) == ("cache-4", "loft")
    (line,) = lines_of(await http.post("/v1/updates/cancel", json={"select": select}))
    assert (line["machine"], line["host"], line["outcome"]) == ("cache-4", "loft", "done")
    assert not (await http.get("/v1/updates", params={"ended": False})).json()["updates"]
    await leases.keep("east-id", [])
