"""A request about what another server looks after is answered by that server."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import ssl
from collections.abc import AsyncIterator

import httpx
import pytest

from innkeeper.errors import ErrorCode
from innkeeper.identity.caller import Caller, Proof
from innkeeper.identity.granted import Granted
from innkeeper.identity.roles import Grant, Reach, Role
from innkeeper.server.relay.authority import Credentials, make_authority, name_of
from innkeeper.server.relay.vouching import HEADER, vouch
from tests.server.relay.two_servers import Server, client

Inn = tuple[Server, Server]

_EVE = Caller(user="eve", realm="local", proof=Proof.TOKEN, grants=(Grant(role=Role.ADMINISTRATOR),))
#: An administrator whom nobody has authenticated.
FORGED = {HEADER.decode(): vouch(_EVE).decode()}


async def peer(inn: Inn, credentials: Credentials | ssl.SSLContext) -> httpx.AsyncClient:
    """A client of the south's peer door with these credentials."""
    north, _ = inn
    assert north.house.neighbours is not None
    (address,) = [each.address for each in await north.house.neighbours.living()]
    tls = credentials.calling if isinstance(credentials, Credentials) else credentials
    return httpx.AsyncClient(verify=tls, base_url=f"https://{address}")


def as_south(south: Server) -> dict[str, str]:
    """What makes a client expect the south's certificate."""
    return {"sni_hostname": name_of(south.house.neighbours.own.id if south.house.neighbours else "")}


async def test_a_machine_is_the_same_at_each_door(inn: Inn) -> None:
    """What its owner's door answers, the other answers too."""
    north, south = inn
    for path in ("/v1/machines/db-1", "/v1/machines/db-1/configuration", "/v1/machines/db-1/display"):
        here, there = await south.http.get(path), await north.http.get(path)
        assert there.status_code == here.status_code == 200
        assert there.json() == here.json()
        assert there.headers["content-type"] == here.headers["content-type"]


async def test_a_command_at_the_wrong_door_is_carried_out(inn: Inn) -> None:
    """By the owner, and audited once."""
    north, south = inn
    response = await north.http.post("/v1/machines/db-1/startup", json={})
    assert response.status_code == 202, response.text
    await south.house.tasks.wait(response.json()["task"]["id"])
    assert (await south.http.get("/v1/machines/db-1")).json()["state"] == "RUNNING"
    told = [entry.fact async for entry in south.house.audit.all() if entry.fact.on == "machine db-1"]
    assert [(fact.who, fact.action, fact.outcome.value) for fact in told] == [
        ("root", "command_machine", "begun"),
        ("root", "command_machine", "done"),
    ]
    off = await north.http.post("/v1/machines/db-1/turn_off", json={})
    await south.house.tasks.wait(off.json()["task"]["id"])


async def test_a_refusal_of_the_owner_is_the_refusal_of_the_door(inn: Inn) -> None:
    """With its identifier and its words."""
    north, south = inn
    refused = await north.http.post("/v1/machines/db-2/reset", json={})
    assert refused.status_code == 409
    assert refused.json() == (await south.http.post("/v1/machines/db-2/reset", json={})).json()


async def test_a_page_shows_a_machine_of_another_server(inn: Inn) -> None:
    """Pages ask the interface, and so reach all that it does."""
    north, _ = inn
    page = await north.http.get("/machines/db-2")
    assert page.status_code == 200
    assert "db-2" in page.text


async def test_who_may_not_see_the_machine_is_told_that_there_is_none(inn: Inn) -> None:
    """At the door that was asked, as at the owner's."""
    north, south = inn
    people = north.house.people
    await people.accounts.add("ana", "long enough a word")
    grant = Grant(role=Role.VIEWER, reach=Reach.MACHINE, name="web-1")
    await people.grants.give(Granted(realm="local", name="ana", is_group=False, grant=grant))
    for door in (north, south):
        async with client(door.app) as http:
            answer = await http.get("/v1/machines/db-1", auth=("ana@local", "long enough a word"))
            assert answer.status_code == 404, answer.text
            assert answer.json()["error"] == "MachineNotFound"


async def test_a_header_from_outside_vouches_for_nobody(inn: Inn) -> None:
    """It is believed at the peer door alone."""
    for door in inn:
        async with client(door.app) as http:
            for machine in ("db-1", "web-1"):
                answer = await http.get(f"/v1/machines/{machine}", headers=FORGED)
                assert answer.status_code == 401


async def test_a_stranger_does_not_get_through_the_peer_door(inn: Inn) -> None:
    """Without a certificate, or with one of another authority."""
    _, south = inn
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname, bare.verify_mode = False, ssl.CERT_NONE
    foreign = await asyncio.to_thread(
        Credentials.issued, "nobody", south.house.settings.state_dir / "foreign", make_authority()
    )
    foreign.calling.check_hostname, foreign.calling.verify_mode = False, ssl.CERT_NONE
    for credentials in (bare, foreign):
        async with await peer(inn, credentials) as http:
            with pytest.raises(httpx.TransportError):
                await http.get("/v1/machines/db-1", headers=FORGED, extensions=as_south(south))


async def test_a_server_expects_the_very_server_that_it_asks(inn: Inn) -> None:
    """Another one of the same inn at that address is not it."""
    north, south = inn
    assert north.house.neighbours is not None
    credentials = north.house.neighbours.transport.credentials
    async with await peer(inn, credentials) as http:
        answer = await http.get("/v1/machines/db-1", headers=FORGED, extensions=as_south(south))
        assert answer.status_code == 200
    async with await peer(inn, credentials) as http:
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            await http.get("/v1/machines/db-1", extensions={"sni_hostname": name_of("another")})


async def test_a_request_is_sent_on_once_only(inn: Inn) -> None:
    """A server that is asked by a peer for what it does not own says so, and asks nobody else."""
    north, south = inn
    assert north.house.neighbours is not None
    async with await peer(inn, north.house.neighbours.transport.credentials) as http:
        answer = await http.get("/v1/machines/web-1", headers=FORGED, extensions=as_south(south))
    assert answer.status_code == 421


async def test_a_repeated_request_is_carried_out_once_whatever_door_it_comes_to(inn: Inn) -> None:
    """Idempotency keys are the owner's, and the answers are in the shared store."""
    north, south = inn
    key = {"Idempotency-Key": "once"}
    path, body = "/v1/machines/db-2/labels", {"labels": ["a"]}
    first = await north.http.post(path, json=body, headers=key)
    assert first.status_code < 300, first.text
    again = [
        await door.http.post("/v1/machines/db-2/labels", json={"labels": ["a"]}, headers=key) for door in inn
    ]
    assert [each.headers.get("Idempotent-Replayed") for each in again] == ["true", "true"]
    await south.http.delete("/v1/machines/db-2/labels/a")


async def test_a_machine_whose_owner_is_away_is_told_of_and_not_commanded(inn: Inn) -> None:
    """The refusal names the server, since when it is away, and that its work waits."""
    north, _ = inn
    async with without_south(inn):
        refused = await north.http.post("/v1/machines/db-1/pause", json={})
        shown = await north.http.get("/v1/machines/db-1")
        hosts = (await north.http.get("/v1/hosts")).json()
    assert refused.status_code == 503
    assert refused.json()["code"] == ErrorCode.ERROR_ONLY_IF_CONNECTED.name
    assert "cellar is looked after by the server south, which is away since" in refused.json()["detail"]
    assert "Its work waits for it." in refused.json()["detail"]
    assert shown.json()["name"] == "db-1"
    assert shown.json()["as_of"] is not None
    assert [host["name"] for host in hosts["hosts"]] == ["attic"]
    (cellar,) = hosts["away"]
    assert cellar["reason"].startswith("Its server south is away since")
    assert cellar["server"] == "south"
    assert cellar["seen_at"] is not None
    assert hosts["hosts"][0]["server"] == "north"


async def test_a_machine_on_a_host_that_its_server_has_lost_is_not_said_to_be_none(
    inn: Inn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody looks after the host now: whoever reads that there is no such machine would forget it."""
    north, _ = inn
    await north.keeper.look()
    neighbours = north.house.neighbours
    assert neighbours is not None
    monkeypatch.setattr(neighbours, "own_hosts", dict)
    refused = await north.http.post("/v1/machines/mail/pause", json={})
    assert refused.status_code == 503
    assert refused.json()["detail"].startswith("No server looks after attic now; ")
    assert refused.json()["detail"].endswith("Its work waits until one does.")


async def test_labels_are_given_to_machines_of_all_servers_at_once(inn: Inn) -> None:
    """At any door; what is on a host of a server that is away is refused, and not planned either."""
    north, south = inn
    wish = {"select": "db-1 or mail", "add": ["night"]}
    given = await north.http.post("/v1/machines/label", json=wish)
    assert [json.loads(line)["outcome"] for line in given.text.splitlines()] == ["done", "done"], given.text
    for each, name in ((north, "mail"), (south, "db-1")):
        assert "night" in (await each.house.machines.get(name)).labels
    await south.house.board.all()
    await south.keeper.look()
    taken = {"select": "db-1 or mail", "remove": ["night"]}
    await north.http.post("/v1/machines/label", json=taken)
    for each, name in ((north, "mail"), (south, "db-1")):
        assert "night" not in (await each.house.machines.get(name)).labels
    await south.keeper.look()
    async with without_south(inn):
        answers = [
            (await north.http.post("/v1/machines/label", json=wish | {"dry_run": dry})).text
            for dry in (True, False)
        ]
    for answer, done in zip(answers, ("planned", "done"), strict=True):
        outcomes = {line["machine"]: line["outcome"] for line in map(json.loads, answer.splitlines())}
        assert outcomes == {"mail": done, "db-1": "refused"}
    await north.http.post("/v1/machines/label", json=taken | {"select": "mail"})


async def test_a_host_is_found_whatever_the_case_of_its_letters(inn: Inn) -> None:
    """In a list of machines, here and at other servers."""
    for each in inn:
        for host, name in (("ATTIC", "mail"), ("Cellar", "db-1")):
            listed = (await each.http.get(f"/v1/machines?host={host}")).json()["machines"]
            assert name in [machine["name"] for machine in listed]


async def test_the_page_of_hosts_tells_which_server_is_away_and_what_waits_for_it(inn: Inn) -> None:
    """With a way to retire it; its machines are marked with when they were seen."""
    north, south = inn
    await south.keeper.look()
    async with without_south(inn):
        page = (await north.http.get("/hosts")).text
        asked = (await north.http.get("/hosts/servers/retire?name=south")).text
        machines = (await north.http.get("/machines?host=cellar")).text
    assert "Its server south is away since" in page
    assert "/hosts/servers/drain?name=north" in page
    assert "/hosts/servers/drain?name=south" not in page
    assert "It looks after cellar, with 0 tasks in flight." in asked
    assert "as of <time" in machines
    assert "host cellar does not answer" in machines


async def test_a_server_is_drained_and_joins_again_from_the_page(inn: Inn) -> None:
    """Asked first, then done; the page says what it is now."""
    north, south = inn
    assert "begins nothing more" in (await north.http.get("/hosts/servers/drain?name=south")).text
    for verb, word in (("drain", "draining"), ("join", "serving")):
        changed = await north.http.post(f"/hosts/servers/{verb}", data={"name": "south"})
        assert changed.status_code == 303, changed.text
        server = (await north.http.get("/v1/servers/south")).json()
        assert server["state"] == word
    assert south.house.fleet.own.name == "south"


async def test_the_night_names_each_machine_once_also_where_its_server_is_away(inn: Inn) -> None:
    """By what people call it, never by its key; what waits for a server says so."""
    north, south = inn
    booking = {"machine": "db-2", "label": "Security", "identifier": "night"}
    assert (await north.http.post("/v1/updates", json=booking)).status_code == 201
    await south.keeper.look()
    both = [(await door.http.get("/v1/tonight")).json()["entries"] for door in inn]
    async with without_south(inn):
        alone = (await north.http.get("/v1/tonight")).json()
    await north.http.delete("/v1/updates/db-2/night")
    assert [[entry["machine"] for entry in entries] for entries in both] == [["db-2"], ["db-2"]]
    (entry,) = alone["entries"]
    assert (entry["machine"], entry["host"], entry["fits"]) == ("db-2", "cellar", False)
    assert entry["reason"].startswith("Its server south is away since")
    assert not alone["fits"]


async def test_an_update_is_booked_while_the_owner_is_away(inn: Inn) -> None:
    """It waits in the shared store; the owner finds it when it is back."""
    north, south = inn
    booking = {"machine": "DB-1", "label": "Security", "identifier": "away", "start": "2099-01-01T00:00:00Z"}
    async with without_south(inn):
        taken = await north.http.post("/v1/updates", json=booking)
    assert taken.status_code == 201, taken.text
    assert taken.json()["machine"] == "db-1"
    found = (await south.http.get("/v1/updates/db-1/away")).json()["update"]
    assert found["label"] == "Security"
    assert (await north.http.delete("/v1/updates/db-1/away")).status_code == 204
    assert (await south.http.get("/v1/updates/db-1/away")).status_code == 404


async def test_a_new_machine_for_a_host_that_is_nowhere_is_told_all_hosts(inn: Inn) -> None:
    """Those of other servers would do too."""
    north, _ = inn
    hosts = (await north.http.get("/v1/hosts")).json()["hosts"]
    refused = await north.http.post("/v1/machines", json={"name": "db-9", "host": "nosuch"})
    assert refused.status_code == 404
    told = refused.json()["advice"]
    assert len(hosts) > 1
    assert all(host["name"] in told for host in hosts)


async def test_files_are_those_of_the_host_that_is_named(inn: Inn) -> None:
    """Without a name, those of the computer that is asked; of an unknown host there are none."""
    north, south = inn
    own = (await north.http.get("/v1/disks/roots")).json()
    named = (await north.http.get("/v1/disks/roots", params={"host": "cellar"})).json()
    assert named == (await south.http.get("/v1/disks/roots")).json() != own
    unknown = await north.http.get("/v1/disks/roots", params={"host": "barn"})
    assert unknown.status_code == 404
    assert "There is no host" in unknown.json()["detail"]


@contextlib.asynccontextmanager
async def without_south(inn: Inn) -> AsyncIterator[None]:
    """The south cannot be asked."""
    north, south = inn
    assert north.house.neighbours is not None
    assert south.house.neighbours is not None
    (known,) = await north.house.neighbours.living()
    await south.house.neighbours.announce("")
    north.house.neighbours.look_again()
    try:
        yield
    finally:
        await south.house.neighbours.announce(known.address)
        north.house.neighbours.look_again()


async def test_the_list_of_machines_is_the_same_at_each_door(inn: Inn) -> None:
    """Of all hosts, by name; by pages too."""
    north, south = inn
    for each in inn:
        await each.keeper.look()
    here, there = [(await door.http.get("/v1/machines")).json()["machines"] for door in (north, south)]
    assert here == there
    names = [machine["name"] for machine in here]
    assert names == sorted(names)
    assert {"db-1", "db-2", "mail", "web-1"} <= {*names}
    paged, after = [], ""
    for door in itertools.cycle(inn):
        query = {"limit": 3} | ({"after": after} if after else {})
        page = (await door.http.get("/v1/machines", params=query)).json()
        paged += page["machines"]
        after = page["next_after"]
        if after is None:
            break
    assert paged == here


@pytest.mark.parametrize("query", [{"host": "cellar"}, {"text": "B-2"}, {"state": "TURNED_OFF"}])
async def test_what_is_asked_for_is_found_on_all_hosts(inn: Inn, query: dict[str, str]) -> None:
    """The same at each door."""
    for each in inn:
        await each.keeper.look()
    answers = [(await door.http.get("/v1/machines", params=query)).json()["machines"] for door in inn]
    assert answers[0] == answers[1]
    assert any(machine["host"] == "cellar" for machine in answers[0])


GATHERED = ("/v1/hosts", "/v1/networks", "/v1/usb", "/v1/checks", "/v1/accounts", "/v1/tonight")


@pytest.mark.parametrize("path", GATHERED)
async def test_lists_that_need_living_answers_are_of_all_servers(inn: Inn, path: str) -> None:
    """Each server is asked for its part."""
    north, south = inn
    here, there = await north.http.get(path), await south.http.get(path)
    assert here.status_code == 200, here.text
    names = [_names(answer.json()) for answer in (here, there)]
    assert names[0] == names[1]
    if path != "/v1/tonight":
        assert any("attic" in name for name in names[0])
        assert any("cellar" in name for name in names[0])


@pytest.mark.parametrize("path", ["/v1/hosts", "/v1/networks", "/v1/usb", "/v1/accounts"])
async def test_lists_of_all_servers_come_in_pages(inn: Inn, path: str) -> None:
    """Whichever door is asked for the next one; entries of one server are between those of the other."""
    whole = _names((await inn[0].http.get(path)).json())
    paged, after = [], ""
    for door in itertools.cycle(inn):
        query = {"limit": 1} | ({"after": after} if after else {})
        page = (await door.http.get(path, params=query)).json()
        assert len(_names(page)) == 1
        paged += _names(page)
        after = page["next_after"]
        if after is None:
            break
    assert paged == whole
    for wrong in ({"after": "x"}, {"limit": "0"}):
        assert (await inn[1].http.get(path, params=wrong)).status_code == 422


def _names(body: dict[str, list[dict[str, object]]]) -> list[str]:
    lists = [value for value in body.values() if isinstance(value, list)]
    return [f"{item.get('host')} {item.get('name')} {item.get('machine')}" for each in lists for item in each]


async def test_a_name_that_machines_of_two_servers_have_is_refused_at_each_door(inn: Inn) -> None:
    """With both written out: neither door takes its own for the only one."""
    for door in inn:
        refused = await door.http.post("/v1/machines/twin/startup", json={})
        assert refused.status_code == 409, refused.text
        assert refused.json()["error"] == "MachineAmbiguous"
        assert "attic/twin and cellar/twin" in refused.json()["detail"]


async def test_a_nul_is_refused_before_anything_is_looked_up(inn: Inn) -> None:
    """PostgreSQL takes none: neither the door that is asked nor the one that looks after a machine does."""
    for each in inn:
        for body in ({"machine": "a\0", "identifier": "u", "label": "l"},
                     {"machine": "mail", "identifier": "u", "label": "l\0"}):  # fmt: skip
            answer = await each.http.post("/v1/updates", json=body)
            assert (answer.status_code, answer.json()["code"]) == (422, "ERROR_INVALID_NAME"), answer.text
        form = await each.http.post("/v1/windows", json={"name": "a\0", "opens_at": "22:00", "zone": "UTC"})
        assert form.json()["code"] == "ERROR_INVALID_NAME", form.text
