"""Machines on a host that no server looks after now, or whose server has just died."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping

import pytest

from innkeeper.errors import ErrorCode
from innkeeper.machines.directory import HostEntry
from innkeeper.schedule.xml.encoding import Encoding
from innkeeper.wire.commands import Command
from tests.server.relay.test_schedules import calling
from tests.server.relay.two_servers import Server

Inn = tuple[Server, Server]

BOOKING = {"machine": "mail", "label": "Security", "identifier": "one", "start": "2099-01-01T00:00:00Z"}
NOBODY = "No server looks after the host attic now, since "


@contextlib.asynccontextmanager
async def without_owner(inn: Inn) -> AsyncIterator[None]:
    """The north has given up its host, and nobody has taken it."""
    north, _ = inn
    ownership = north.house.ownership
    assert ownership is not None
    await north.keeper.look()
    await ownership.close()
    look_again(inn)
    try:
        yield
    finally:
        ownership._is_closed = False
        await ownership.look()
        assert ownership.owns(north.host.id)
        look_again(inn)


@pytest.fixture
async def nobody(inn: Inn) -> AsyncIterator[Inn]:
    """An inn whose host ``attic`` nobody looks after."""
    async with without_owner(inn):
        yield inn


@pytest.fixture
async def killed(inn: Inn) -> AsyncIterator[Inn]:
    """An inn whose server ``south`` has just been killed: by its own word it lives, and its door is shut."""
    north, south = inn
    assert north.house.neighbours is not None
    assert south.house.neighbours is not None
    await south.keeper.look()
    (known,) = await north.house.neighbours.living()
    await south.house.neighbours.announce("127.0.0.1:1")
    look_again(inn)
    yield inn
    await south.house.neighbours.announce(known.address)
    north.house.neighbours._silent.clear()
    look_again(inn)


def look_again(inn: Inn) -> None:
    """What servers believe of one another is looked up anew."""
    for each in inn:
        assert each.house.neighbours is not None
        each.house.neighbours.look_again()


def line_of(text: str) -> Mapping[str, str]:
    """The one line of an act on many machines."""
    (line,) = (json.loads(line) for line in text.splitlines())
    assert isinstance(line, dict)
    return line


@pytest.mark.parametrize("door", [0, 1])
@pytest.mark.parametrize("name", ["mail", "MAIL", "attic/mail", "attic-mail"])
async def test_an_update_is_booked_shown_and_deleted_though_nobody_has_the_host(
    nobody: Inn, door: int, name: str
) -> None:
    """It waits in the tables, and says that nobody looks after its host, since when and who did last."""
    http, quoted = nobody[door].http, name.replace("/", "%2F")
    booked = await http.post("/v1/updates", json=BOOKING | {"machine": name})
    assert booked.status_code == 201, booked.text
    assert booked.json()["reason"].startswith(NOBODY)
    assert "; north did last. It goes on when one does." in booked.json()["reason"]
    shown = await http.get(f"/v1/updates/{quoted}/one")
    assert shown.json()["update"] == booked.json()
    (listed,) = (await http.get("/v1/updates", params={"machine": name})).json()["updates"]
    assert listed["reason"] == booked.json()["reason"]
    (entry,) = (await http.get("/v1/tonight")).json()["entries"]
    assert (entry["machine"], entry["host"], entry["fits"]) == ("mail", "attic", False)
    assert entry["reason"] == booked.json()["reason"]
    moved = await http.post("/v1/updates", json=BOOKING | {"machine": name, "start": "2099-02-02T00:00:00Z"})
    assert moved.json()["start"] == "2099-02-02T00:00:00Z"
    assert (await http.delete(f"/v1/updates/{quoted}/one")).status_code == 204
    assert (await http.get(f"/v1/updates/{quoted}/one")).status_code == 404


async def test_one_request_at_two_doors_at_once_is_carried_out_once(nobody: Inn) -> None:
    """The doors share what they have answered: the others wait for the first, and say the same."""
    key = {"Idempotency-Key": "two-doors"}
    posts = [door.http.post("/v1/updates", json=BOOKING, headers=key) for door in (*nobody, *nobody)]
    answers = await asyncio.gather(*posts)
    carried_out = [
        answer
        for answer in answers
        if answer.status_code == 201 and "Idempotent-Replayed" not in answer.headers
    ]
    assert len(carried_out) == 1
    for other in answers:
        assert other.status_code == 201 or other.json()["code"] == ErrorCode.ERROR_BUSY.name
        assert other.status_code != 201 or other.json() == carried_out[0].json()
        assert "was stopped" not in other.text
    assert (await nobody[0].http.delete("/v1/updates/mail/one")).status_code == 204


@pytest.mark.parametrize("door", [0, 1])
async def test_many_are_booked_and_cancelled_though_nobody_has_the_host(nobody: Inn, door: int) -> None:
    """A label lies at the host, and is refused with what to do."""
    http = nobody[door].http
    fields = {name: value for name, value in BOOKING.items() if name != "machine"}
    booked = await http.post("/v1/updates/book", json={**fields, "select": "mail"})
    assert line_of(booked.text)["outcome"] == "done"
    cancelled = await http.post("/v1/updates/cancel", json={"select": "mail"})
    assert line_of(cancelled.text)["outcome"] == "done"
    labelled = await http.post("/v1/machines/label", json={"select": "mail", "add": ["x"]})
    line = line_of(labelled.text)
    assert (line["outcome"], line["code"]) == ("refused", ErrorCode.ERROR_ONLY_IF_CONNECTED.name)
    assert line["reason"].startswith("No server looks after attic now, since ")


@pytest.mark.parametrize("door", [0, 1])
async def test_a_window_for_its_machine_is_made_though_nobody_has_the_host(nobody: Inn, door: int) -> None:
    """It is a row that all share."""
    http = nobody[door].http
    opening = {"opens_at": "22:00", "duration_seconds": 3600, "dates": ["2099-01-01"]}
    window = {"name": "nights", "machines": ["mail"], **opening}
    made = await http.post("/v1/windows", json=window)
    assert made.status_code == 201, made.text
    assert (await http.get("/v1/windows")).json()["windows"][0]["machines"] == ["mail"]
    assert (await http.delete("/v1/windows/nights")).status_code == 204


@pytest.mark.parametrize("door", [0, 1])
async def test_what_needs_the_host_is_refused_with_what_to_do(nobody: Inn, door: int) -> None:
    """With who looked after it last, and since when nobody does."""
    http = nobody[door].http
    for refused in (
        await http.post("/v1/machines/mail/startup", json={}),
        await http.post("/v1/machines/mail/labels", json={"labels": ["x"]}),
        await http.get("/v1/machines/mail/configuration"),
    ):
        assert refused.status_code == 503
        problem = refused.json()
        assert problem["code"] == ErrorCode.ERROR_ONLY_IF_CONNECTED.name
        assert problem["detail"].startswith("No server looks after attic now, since ")
        assert problem["detail"].endswith("; north did last. Its work waits until one does.")
        assert "innkeeper server list" in problem["advice"]
        # It has not ended: to start it would change nothing.
        assert "innkeeper host list" in problem["advice"]
        assert "Start the one" not in problem["advice"]
    shown = (await http.get("/v1/machines/mail")).json()
    assert (shown["name"], shown["as_of"] is not None) == ("mail", True)
    found = (await http.get("/v1/machines", params={"text": "mail"})).json()["machines"]
    assert [machine["as_of"] for machine in found if machine["name"] == "mail"] == [shown["as_of"]]


@pytest.mark.parametrize("door", [0, 1])
async def test_a_host_of_nobody_is_listed_as_one(nobody: Inn, door: int) -> None:
    """With since when, and who looked after it last; that server is not said to have it."""
    http = nobody[door].http
    (attic,) = (await http.get("/v1/hosts")).json()["away"]
    assert (attic["name"], attic["server"]) == ("attic", "")
    assert attic["reason"].startswith("No server looks after it now, since ")
    assert "; north did last" in attic["reason"]
    assert (await http.get("/v1/servers/north")).json()["hosts"] == []


async def test_a_host_that_has_gone_hides_no_other_of_its_name(inn: Inn) -> None:
    """Neither at the owner's door nor at the other; it is forgotten when a server that lives starts next."""
    north, south = inn
    gone = HostEntry(host_id="a-host-that-has-gone", name="cellar", uri="test:///gone", server="east")
    await north.directory.put_hosts([gone])
    for each in inn:
        answer = await each.http.get("/v1/disks", params={"host": "cellar"})
        assert answer.status_code == 200, answer.text
    ownership = south.house.ownership
    assert ownership is not None
    await ownership._leases.keep(ownership.server.id, {fence.uri for fence in ownership.fences})
    assert [host.name for host in await north.directory.hosts()] == ["attic", "cellar"]


async def test_reads_of_a_just_killed_servers_machines_are_answered_as_last_known(killed: Inn) -> None:
    """Its lease still holds, and nobody can take its hosts yet: what was seen last is shown, with when."""
    north, _ = killed
    shown = await north.http.get("/v1/machines/db-3")
    assert shown.status_code == 200, shown.text
    assert shown.json()["as_of"] is not None
    found = (await north.http.get("/v1/machines", params={"host": "cellar"})).json()["machines"]
    assert found
    assert all(machine["as_of"] is not None for machine in found)
    (cellar,) = (await north.http.get("/v1/hosts")).json()["away"]
    assert cellar["reason"].startswith("Its server south does not answer since ")
    booking = BOOKING | {"machine": "db-3"}
    booked = await north.http.post("/v1/updates", json=booking)
    assert booked.status_code == 201, booked.text
    assert booked.json()["reason"].startswith("Its server south does not answer since ")
    assert (await north.http.get("/v1/updates/db-3/one")).json()["update"] == booked.json()
    assert (await north.http.delete("/v1/updates/db-3/one")).status_code == 204
    refused = await north.http.post("/v1/machines/db-3/pause", json={})
    assert refused.status_code == 503
    assert refused.json()["code"] == ErrorCode.ERROR_ONLY_IF_CONNECTED.name


@pytest.mark.parametrize("path", ["channels", "networks", "networks/unplugged", "usb", "accounts"])
async def test_a_list_names_the_servers_whose_part_is_missing(killed: Inn, path: str) -> None:
    """On its first page, with since when: nothing says otherwise that there is more."""
    north, _ = killed
    (missing,) = (await north.http.get(f"/v1/{path}")).json()["missing"]
    assert missing["server"] == "south"
    assert missing["reason"] == "The server south did not answer in time."


async def test_a_machines_page_says_whose_channels_are_missing(killed: Inn) -> None:
    """Beside those that are shown."""
    page = (await killed[0].http.get("/machines/mail")).text
    assert "The server south did not answer in time. Its channels are not shown." in page


async def test_a_list_of_all_servers_names_none(inn: Inn) -> None:
    """While all answer."""
    for each in inn:
        assert (await each.http.get("/v1/channels")).json()["missing"] == []


async def test_a_machine_of_nobodys_host_can_be_scheduled(nobody: Inn) -> None:
    """It is known by the directory; who looks after its host then starts the task."""
    for each in nobody:
        xml = calling(Command.SAVE.class_id, "mail").to_xml(Encoding.UTF_8).decode()
        answer = await each.http.post("/v1/schedule/task", json={"path": f"\\n-{each.name}", "xml": xml})
        assert answer.status_code == 201, answer.text
