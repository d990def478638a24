"""Every route says which right it takes, and is guarded by it."""

from __future__ import annotations

import datetime as dt
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.routing import WebSocketRoute
from starlette.types import Message, Receive, Scope, Send

from innkeeper.identity.caller import Caller, Proof
from innkeeper.identity.roles import Grant, Reach, Role
from innkeeper.server.app import bare_app
from innkeeper.server.compose import open_house
from innkeeper.server.compose_base import Overrides
from innkeeper.server.house import House
from innkeeper.server.http.callers import CALLER
from innkeeper.server.identity.needs import declared
from innkeeper.server.identity.visibility import sees_event
from innkeeper.server.settings import FakeSettings, Settings
from innkeeper.tasks.clock import FakeClock
from innkeeper.wire.events import Event, EventKind

#: What tells nothing of the inn: the description of the interface.
_FREE = {"/v1/openapi.json"}

VIEWER, OPERATOR, ADMINISTRATOR = (Grant(role=role) for role in Role)


def test_every_route_has_declared_its_need() -> None:
    """A new one without a declaration does not pass."""
    bare = [getattr(route, "path", route) for route, need in declared(bare_app()) if need is None]
    assert set(bare) <= _FREE


def test_no_request_takes_a_thread() -> None:
    """What is not asynchronous is called in one: a hop there and back, and a stack, each time."""
    routes = [route for route, _ in declared(bare_app()) if isinstance(route, APIRoute)]
    assert routes
    assert {call for route in routes for call in _calls(route.dependant) if not _is_async(call)} == set()


def _calls(dependant: Dependant) -> Iterator[Callable[..., object]]:
    """The endpoint, and all that it depends on."""
    if dependant.call is not None:
        yield dependant.call
    for each in dependant.dependencies:
        yield from _calls(each)


def _is_async(call: Callable[..., object]) -> bool:
    function = inspect.unwrap(call if inspect.isroutine(call) else type(call).__call__)
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


class _Told:
    """The application, with the caller put in by the test instead of a door."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self.caller: Caller | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app({**scope, CALLER: self.caller}, receive, send)


class Inn:
    """An inn to which anybody can be sent."""

    def __init__(self, app: FastAPI, house: House) -> None:
        self.house = house
        self._told = _Told(app)
        self._http = httpx.AsyncClient(transport=httpx.ASGITransport(self._told), base_url="http://inn")

    async def ask(self, method: str, path: str, *grants: Grant, body: object = None) -> httpx.Response:
        """What it answers to somebody with these grants."""
        self._told.caller = Caller(user="ana", realm="LAB", proof=Proof.PASSWORD, grants=grants)
        return await self._http.request(method, path, json=body)

    async def knock_unknown(self, path: str) -> int:
        """The status with which it refuses a WebSocket to nobody it knows."""
        self._told.caller = None
        response: list[Message] = []

        async def receive() -> Message:
            return {"type": "websocket.connect"}

        async def send(message: Message) -> None:
            response.append(message)

        scope = {"type": "websocket", "path": path, "headers": [], "query_string": b"", "subprotocols": []}
        await self._told({**scope, "extensions": {"websocket.http.response": {}}}, receive, send)
        return int(response[0]["status"])

    async def ask_unknown(self, method: str, path: str) -> httpx.Response:
        """What it answers to nobody it knows."""
        self._told.caller = None
        return await self._http.request(method, path)


@pytest.fixture
async def inn(tmp_path: Path) -> AsyncIterator[Inn]:
    """A simulated inn with three machines."""
    settings = Settings(state_dir=tmp_path, socket=tmp_path / "s", fake=FakeSettings(machines=3, speed=60))
    async with open_house(settings, Overrides(clock=FakeClock(speed=60))) as house:
        app = bare_app()
        app.state.house = house
        yield Inn(app, house)


def _on(role: Role, reach: Reach, name: str) -> Grant:
    return Grant(role=role, reach=reach, name=name)


WEB = _on(Role.OPERATOR, Reach.MACHINE, "web-1")


async def test_nobody_unknown_gets_an_answer(inn: Inn) -> None:
    """From no route that tells of the inn: 401 with the documented identifier."""
    for route, need in declared(bare_app()):
        path = getattr(route, "path", "")
        if need is None or need.role is None:
            continue
        if isinstance(route, WebSocketRoute):
            assert await inn.knock_unknown(f"/v1{path.replace('{name}', 'web-1')}") == 401, path
            continue
        for method in getattr(route, "methods", None) or ("GET",):
            url = (
                path.replace(":int}", "}")
                .replace("{task_id}", "1")
                .replace("{verb}", "pause")
                .replace("{identifier:path}", "x")
            )
            url = url.replace("{name}", "web-1").replace("{machine}", "web-1")
            # A router does not know under which path it was included.
            answers = [await inn.ask_unknown(method, f"{above}{url}") for above in ("", "/v1")]
            # A page may stand at the same path without the version.
            refused = [answer for answer in answers if answer.status_code not in (404, 405)]
            assert {answer.status_code for answer in refused} in ({401}, {422}, {401, 422}), (method, path)
            told = [answer for answer in refused if method != "HEAD"]
            assert {answer.json()["hresult"] for answer in told} <= {0x80070005, 0x80070057}


async def test_a_viewer_looks_and_does_not_touch(inn: Inn) -> None:
    """What takes more is refused by name of the role."""
    assert (await inn.ask("GET", "/v1/machines/web-1", VIEWER)).status_code == 200
    refused = await inn.ask("POST", "/v1/machines/web-1/pause", VIEWER)
    assert (refused.status_code, refused.json()["hresult"]) == (403, 0x80070005)
    assert "operator" in refused.json()["detail"]
    assert (await inn.ask("POST", "/v1/machines/web-1/pause", OPERATOR)).status_code == 202


async def test_windows_are_the_administrators(inn: Inn) -> None:
    """They decide when machines stop working."""
    window = {"name": "w", "zone": "UTC", "opens_at": "22:00", "duration_seconds": 3600, "weekdays": ["mon"]}
    assert (await inn.ask("POST", "/v1/windows", OPERATOR, body=window)).status_code == 403
    assert (await inn.ask("POST", "/v1/windows", ADMINISTRATOR, body=window)).status_code == 201
    assert (await inn.ask("DELETE", "/v1/windows/w", OPERATOR)).status_code == 403


async def test_a_machine_that_one_may_not_see_is_not_there(inn: Inn) -> None:
    """Neither by its name, nor in a list, nor for a booking, and in the very words of one that is not."""
    listed = (await inn.ask("GET", "/v1/machines", WEB)).json()["machines"]
    assert [machine["name"] for machine in listed] == ["web-1"]
    hidden = await inn.ask("GET", "/v1/machines/db-1", WEB)
    missing = await inn.ask("GET", "/v1/machines/nope", WEB)
    really_missing = await inn.ask("GET", "/v1/machines/nope", ADMINISTRATOR)
    assert missing.json() == really_missing.json()
    assert hidden.text.replace("db-1", "nope") == missing.text
    booking = {"machine": "db-1", "identifier": "x", "label": "", "start": "2031-01-01T00:00:00Z"}
    assert (await inn.ask("POST", "/v1/updates", WEB, body=booking)).status_code == 404
    booked = await inn.ask("POST", "/v1/updates", WEB, body={**booking, "machine": "WEB-1"})
    assert booked.status_code == 201
    assert len((await inn.ask("GET", "/v1/updates", WEB)).json()["updates"]) == 1
    other = _on(Role.VIEWER, Reach.MACHINE, "db-1")
    assert (await inn.ask("GET", "/v1/updates", other)).json()["updates"] == []
    assert (await inn.ask("GET", "/v1/tonight", other)).json()["entries"] == []


async def test_answers_say_what_the_caller_may(inn: Inn) -> None:
    """And nothing that would be refused for the role."""
    seen = (await inn.ask("GET", "/v1/machines/web-1", VIEWER)).json()["allowed"]
    assert "get_machine" in seen
    assert "command_machine" not in seen
    worked = (await inn.ask("GET", "/v1/machines/web-1", VIEWER, WEB)).json()["allowed"]
    assert {"command_machine", "prepare_machine", "book_update"} <= set(worked)
    me = (await inn.ask("GET", "/v1/inn", VIEWER)).json()
    assert (me["user"], me["domain"], me["role"], me["proof"]) == ("ana", "LAB", "viewer", "password")
    assert "add_window" not in me["allowed"]
    assert "add_window" in (await inn.ask("GET", "/v1/inn", ADMINISTRATOR)).json()["allowed"]


async def test_who_may_nothing_at_all_is_denied_access(inn: Inn) -> None:
    """A person whom a realm knows, and nobody has given a role."""
    denied = await inn.ask("GET", "/v1/inn")
    assert (denied.status_code, denied.json()["hresult"]) == (403, 0x80070005)


async def test_tasks_are_seen_with_their_machine_or_by_their_owner(inn: Inn) -> None:
    """Their log and their events as well."""
    task = (await inn.ask("POST", "/v1/machines/web-1/pause", OPERATOR)).json()["task"]["id"]
    # The same person started it, and sees it in the list.
    nothing = _on(Role.VIEWER, Reach.MACHINE, "db-1")
    for path, query in (("", "?wait_seconds=9"), ("/log", ""), ("/events", "")):
        hidden = await inn.ask("GET", f"/v1/tasks/{task}{path}", nothing)
        missing = await inn.ask("GET", f"/v1/tasks/999{path}", ADMINISTRATOR)
        assert hidden.status_code == 404
        assert hidden.text.replace(f"task {task}", "task 999") == missing.text
        assert (await inn.ask("GET", f"/v1/tasks/{task}{path}{query}", WEB)).status_code == 200
    assert (await inn.ask("POST", f"/v1/tasks/{task}/cancel", VIEWER)).status_code == 403


async def test_folders_are_seen_by_those_who_may_and_on_the_way_to_them(inn: Inn) -> None:
    """The others are not there; what is in them neither."""
    for path in ("\\Nightly\\Deep", "\\Secret"):
        made = await inn.ask("POST", "/v1/schedule/folder", ADMINISTRATOR, body={"path": path, "sddl": ""})
        assert made.status_code == 201
    deep = _on(Role.OPERATOR, Reach.FOLDER, "\\nightly\\deep")
    root = (await inn.ask("GET", "/v1/schedule/folder", deep)).json()
    assert root["folders"] == ["\\Nightly"]
    inside = (await inn.ask("GET", "/v1/schedule/folder?path=\\Nightly", deep)).json()
    assert inside["folders"] == ["\\Nightly\\Deep"]
    hidden = await inn.ask("GET", "/v1/schedule/folder?path=\\Secret", deep)
    missing = await inn.ask("GET", "/v1/schedule/folder?path=\\Nothing", ADMINISTRATOR)
    assert hidden.text.replace("Secret", "Nothing") == missing.text
    refused = await inn.ask(
        "POST", "/v1/schedule/folder", deep, body={"path": "Nightly\\Deep\\X", "sddl": ""}
    )
    assert refused.status_code == 403


async def test_a_role_on_a_label_reaches_the_machines_that_carry_it(inn: Inn) -> None:
    """From the moment that they do until they no longer do; in lists as by name."""
    lab = _on(Role.OPERATOR, Reach.LABEL, "lab")
    assert (await inn.ask("GET", "/v1/machines", lab)).json()["machines"] == []
    assert (await inn.ask("GET", "/v1/machines/web-1", lab)).status_code == 404
    labels = {"labels": ["lab"]}
    given = await inn.ask("POST", "/v1/machines/web-1/labels", ADMINISTRATOR, body=labels)
    assert given.status_code == 200, given.text
    assert (await inn.ask("GET", "/v1/machines/WEB-1", lab)).status_code == 200
    listed = (await inn.ask("GET", "/v1/machines", lab)).json()["machines"]
    assert [machine["name"] for machine in listed] == ["web-1"]
    assert (await inn.ask("POST", "/v1/machines/web-1/pause", lab)).status_code == 202
    assert (await inn.ask("GET", "/v1/machines/db-1", lab)).status_code == 404
    await inn.ask("DELETE", "/v1/machines/web-1/labels/lab", ADMINISTRATOR)
    assert (await inn.ask("GET", "/v1/machines/web-1", lab)).status_code == 404


async def test_events_are_heard_by_those_who_may_see_what_they_are_about(inn: Inn) -> None:
    """A line of a log too, which says nothing of its machine."""
    caller = Caller(user="ana", realm="LAB", proof=Proof.PASSWORD, grants=(WEB,))
    hears = sees_event(inn.house, caller)

    async def happens(kind: EventKind, subject: str, **data: str) -> bool:
        return await hears(Event(kind=kind, subject=subject, at=dt.datetime.now(dt.UTC), data=data))

    assert await happens(EventKind.MACHINE_STARTED, "web-1")
    assert not await happens(EventKind.MACHINE_STARTED, "db-1")
    assert await happens(EventKind.UPDATE_BOOKED, "web-1/x", machine="web-1")
    assert not await happens(EventKind.UPDATE_BOOKED, "db-1/x", machine="db-1")
    assert not await happens(EventKind.TASK_LOGGED, "7", text="secret")
    assert await happens(EventKind.TASK_CREATED, "7", owner="root", lock="machine:web-1")
    assert await happens(EventKind.TASK_LOGGED, "7", text="seen")
    assert not await happens(EventKind.TASK_CREATED, "8", owner="root", lock="machine:db-1")
    assert not await happens(EventKind.TASK_LOGGED, "8", text="secret")
    assert await happens(EventKind.TASK_CREATED, "9", owner="ana@LAB", lock="machine:db-1")
    assert await happens(EventKind.TASK_ENDED, "9", owner="ana@LAB", lock="machine:db-1")
    assert not await happens(EventKind.HOST_LOST, "host-1")
    assert await happens(EventKind.EVENTS_LOST, "")
    administrator = Caller(user="root", realm="system", proof=Proof.PEER, grants=(ADMINISTRATOR,))
    assert await sees_event(inn.house, administrator)(
        Event(kind=EventKind.HOST_LOST, subject="h", at=dt.datetime.now(dt.UTC))
    )
