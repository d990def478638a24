"""What somebody sees who has a role on one host's machine is the same at every server's door."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Mapping

import httpx
import pytest
from starlette.types import ASGIApp, Message, Scope

from innkeeper.hypervisor.simulated.machines import SimulatedMachine
from innkeeper.identity.caller import LOCAL_REALM
from innkeeper.identity.granted import Granted
from innkeeper.identity.roles import Grant, Reach, Role
from innkeeper.wire.events import Json
from tests.server.relay.test_names_elsewhere import defined_too
from tests.server.relay.two_servers import Server, client

Inn = tuple[Server, Server]
_PASSWORD = "a long enough password"  # of an account that lives for one test
_BOOKING = {"machine": "web-1", "identifier": "sight", "label": "l", "start": "2099-01-01T00:00:00Z"}
_HIDDEN = ("attic/web-1", "attic%2Fweb-1", "cellar", "Web-1", "db-1", "mail")


@pytest.fixture
async def doors(inn: Inn) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Both doors as an operator of ``attic/web-1`` sees them; the cellar has a ``Web-1`` too."""
    north, south = inn
    grant = Grant(role=Role.OPERATOR, reach=Reach.MACHINE, name="attic/web-1")
    given = Granted(realm=LOCAL_REALM, name="onlooker", is_group=False, grant=grant)
    await north.house.people.accounts.add("onlooker", _PASSWORD)
    await north.house.people.grants.give(given)
    async with (
        defined_too(inn, SimulatedMachine(name="Web-1", uuid="cellar-web-1")),
        client(north.app) as at_north,
        client(south.app) as at_south,
    ):
        for each in inn:
            assert each.house.neighbours is not None
            each.house.neighbours._shared_at = float("-inf")
        for door in (at_north, at_south):
            door.auth = httpx.BasicAuth("onlooker@local", _PASSWORD)
        yield [at_north, at_south]
    await north.house.people.grants.take(given)
    await north.house.people.accounts.remove("onlooker")


def _tells_nothing_hidden(response: httpx.Response) -> None:
    assert not [each for each in _HIDDEN if each in response.text], response.text


async def test_lists_and_answers_are_of_what_they_see(doors: list[httpx.AsyncClient]) -> None:
    """The machine by its plain name, since its namesake is hidden; of others not even that they are there."""
    for door in doors:
        listed = await door.get("/v1/machines")
        (machine,) = listed.json()["machines"]
        assert (machine["host"], machine["name"], machine["title"]) == ("attic", "web-1", "web-1")
        _tells_nothing_hidden(listed)
        for called in ("web-1", "WEB-1", "attic%2Fweb-1", "attic-web-1"):
            shown = await door.get(f"/v1/machines/{called}")
            assert (shown.status_code, shown.json().get("title")) == (200, "web-1"), shown.text
            assert "start_machine" in shown.json()["allowed"] or shown.json()["allowed"]
        unknown = (await door.get("/v1/machines/no-such-machine")).text
        for called in ("cellar%2FWeb-1", "cellar-web-1", "db-1", "mail"):
            hidden = await door.get(f"/v1/machines/{called}")
            assert hidden.status_code == 404
            assert hidden.text == unknown.replace("no-such-machine", called.replace("%2F", "/"))


async def test_what_they_book_is_theirs_alone(inn: Inn, doors: list[httpx.AsyncClient]) -> None:
    """Booked at one door, seen at both and taken back at the other."""
    north, _ = inn
    other = await north.http.post("/v1/updates", json=_BOOKING | {"machine": "db-1"})
    assert other.status_code == 201
    for here, there in (doors, doors[::-1]):
        booked = await here.post("/v1/updates", json=_BOOKING)
        assert booked.status_code == 201, booked.text
        for door in doors:
            listed = await door.get("/v1/updates", params={"ended": "false"})
            assert [each["machine"] for each in listed.json()["updates"]] == ["web-1"]
            _tells_nothing_hidden(listed)
            _tells_nothing_hidden(await door.get("/v1/tonight"))
        assert (await there.delete("/v1/updates/web-1/sight")).status_code == 204
        for called in ("db-1", "cellar/Web-1"):
            refused = await here.post("/v1/updates", json=_BOOKING | {"machine": called})
            assert refused.status_code == 404, refused.text
    assert (await north.http.delete("/v1/updates/db-1/sight")).status_code == 204


async def test_acts_on_many_are_on_what_they_see(doors: list[httpx.AsyncClient]) -> None:
    """“All” means all of that; a plain name is no ambiguous one, and a hidden one names nothing."""
    many = {"identifier": "sight", "label": "l", "start": "2099-01-01T00:00:00Z"}
    for door in doors:
        for select in ("all", "web-1", "web-*", "host:attic"):
            for path, body in (("book", many), ("cancel", {"identifier": "sight"})):
                answer = await door.post(f"/v1/updates/{path}", json=body | {"select": select})
                assert answer.status_code == 200, answer.text
                (line,) = map(json.loads, answer.text.splitlines())
                assert (line["machine"], line["outcome"]) == ("web-1", "done"), line
                _tells_nothing_hidden(answer)
        for select in ("db-1", "cellar/Web-1", "host:cellar"):
            refused = await door.post("/v1/updates/book", json=many | {"select": select})
            assert refused.status_code == 404, refused.text


async def test_events_are_of_what_they_see(inn: Inn, doors: list[httpx.AsyncClient]) -> None:
    """At each door the same ones, under the plain name."""
    north, south = inn
    async with contextlib.AsyncExitStack() as listening:
        heard = [await listening.enter_async_context(_heard_at(each.app)) for each in inn]
        async with asyncio.timeout(60):
            while not all(any(event["kind"] == "machine.started" for event in events) for events in heard):
                await _start_and_stop(south, "cellar%2FWeb-1")
                await _start_and_stop(north, "mail")
                await _start_and_stop(north, "attic%2Fweb-1")
    for events in heard:
        of_machines = [event for event in events if str(event["kind"]).startswith("machine.")]
        assert {event["subject"] for event in of_machines} == {"web-1"}
        told = json.dumps(events)
        assert not [each for each in _HIDDEN if each in told], told


async def _start_and_stop(server: Server, name: str) -> None:
    for verb in ("startup", "turn_off"):
        answer = await server.http.post(f"/v1/machines/{name}/{verb}", json={})
        assert answer.status_code == 202, answer.text
        await server.house.tasks.wait(answer.json()["task"]["id"])


@contextlib.asynccontextmanager
async def _heard_at(app: ASGIApp) -> AsyncIterator[list[Mapping[str, Json]]]:
    """What an onlooker hears at a door meanwhile; httpx reads no answer of an application before its end."""
    events: list[Mapping[str, Json]] = []
    begun = asyncio.Event()

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("it waits for ever")

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            assert message["status"] == 200
            begun.set()
        lines = message.get("body", b"").decode().splitlines()
        events.extend(json.loads(line.removeprefix("data:")) for line in lines if line.startswith("data:"))

    secret = base64.b64encode(f"onlooker@local:{_PASSWORD}".encode())
    scope: Scope = {
        "type": "http", "method": "GET", "path": "/v1/events", "raw_path": b"/v1/events", "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"authorization", b"Basic " + secret)], "http_version": "1.1",
        "scheme": "http", "server": ("localhost", 80), "client": ("127.0.0.1", 1), "root_path": "",
    }  # fmt: skip
    listening: asyncio.Task[None] = asyncio.create_task(app(scope, receive, send))  # type: ignore[arg-type]  # it is a coroutine
    try:
        await begun.wait()
        yield events
    finally:
        listening.cancel()
        await asyncio.wait([listening])
