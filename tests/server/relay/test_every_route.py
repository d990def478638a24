"""Every route of a machine is answered by the server that looks after it, whichever door is asked."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
from collections.abc import Iterator, Mapping

import pytest
from fastapi.routing import APIRoute

from innkeeper.hypervisor.simulated.machines import SimulatedMachine
from innkeeper.server.app import bare_app
from innkeeper.server.http.known_queries import taken_by
from innkeeper.server.identity.needs import declared_in
from innkeeper.server.identity.subjects import Kind
from tests.server.relay.two_servers import Server

Inn = tuple[Server, Server]

#: What other parameters of paths are given.
_VALUES = {"verb": "pause", "label": "none", "target": "vdz", "adapter_id": "9", "port": "1", "bus": "9"}
_VALUES_IN_QUERY = {"key": "a/b", "name": "none", "span": "minute"}
#: What changes with each look.
_MOVING = ("account", "history", "heartbeat", "check", "display", "thumbnail", "screenshot", "guest")


def _routes(*, reading: bool) -> Iterator[tuple[str, str]]:
    for route, need in declared_in(bare_app().state.operations):
        path = str(getattr(route, "path", ""))
        if need is None or need.on.kind is not Kind.MACHINE or "{name}" not in path or "/channels" in path:
            continue
        for method in sorted(getattr(route, "methods", None) or ()):
            if (method == "GET") is reading:
                yield method, path


@functools.cache
def _query(method: str, path: str) -> Mapping[str, str]:
    """What is in the query: the route refuses what it does not take."""
    routes = (route for route, _ in declared_in(bare_app().state.operations) if isinstance(route, APIRoute))
    (route,) = (each for each in routes if each.path == path and method in (each.methods or ()))
    return {name: _VALUES_IN_QUERY[name] for name in taken_by(route.dependant) if name in _VALUES_IN_QUERY}


def _address(path: str, machine: str) -> str:
    filled = path.replace("{name}", machine)
    return "/v1" + re.sub(r"\{(\w+)(:path)?\}", lambda each: _VALUES.get(each[1], "1"), filled)


@pytest.mark.parametrize("path", [path for _, path in _routes(reading=True)])
async def test_a_read_is_the_same_at_each_door(inn: Inn, path: str) -> None:
    """Status and answer; of what moves, the status and the names in it."""
    north, south = inn
    here = await south.http.get(_address(path, "db-1"), params=_query("GET", path))
    there = await north.http.get(_address(path, "db-1"), params=_query("GET", path))
    assert there.headers["innkeeper-server"] == "south"
    assert "innkeeper-server" not in here.headers
    assert there.status_code == here.status_code
    assert there.headers["content-type"] == here.headers["content-type"]
    if any(word in path for word in _MOVING):
        assert here.status_code != 200 or _names(there.content) == _names(here.content)
    else:
        assert there.json() == here.json()


def _names(body: bytes) -> list[str]:
    return re.findall(r'"(\w+)":', body.decode("latin-1"))


async def test_every_act_is_done_by_the_owner(inn: Inn) -> None:
    """None is answered by the door that has no such machine."""
    north, south = inn
    acts = {f"spare-{number}": act for number, act in enumerate(sorted(_routes(reading=False)))}
    for machine in acts:
        await south.host.simulation.add(SimulatedMachine(name=machine, uuid=f"cellar-{machine}"))
    while not all([await south.directory.find(machine) for machine in acts]):
        await south.keeper.look()
        await asyncio.sleep(0.1)
    for machine, (method, path) in acts.items():
        answer = await north.http.request(
            method, _address(path, machine), params=_query(method, path), json={}
        )
        assert answer.headers.get("innkeeper-server") == "south", (method, path, answer.text)
        assert answer.status_code < 500 or answer.status_code in (501, 502), (method, path, answer.text)
    for machine in acts:
        with contextlib.suppress(KeyError):  # one of the acts has deleted it
            await south.host.simulation.forget(machine)
    while any([await south.directory.find(machine) for machine in acts]):
        await south.keeper.look()
        await asyncio.sleep(0.1)
