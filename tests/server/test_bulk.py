"""Acts on many machines by a selector: one request, one transaction, one line a machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import urlencode

import pytest

from innkeeper.errors import InvalidArgument
from innkeeper.identity.audit import Search
from innkeeper.identity.roles import Grant, Reach, Role
from innkeeper.wire.bulk import BulkOutcome
from tests.server.test_needs import ADMINISTRATOR, OPERATOR, VIEWER, Inn
from tests.server.test_needs import inn as inn  # a fixture
from tests.serving import Service

LATER = "2031-01-01T00:00:00Z"


async def _lines(inn: Inn, path: str, *grants: Grant, **body: object) -> list[dict[str, str]]:
    answer = await inn.ask("POST", path, *grants, body=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_a_selector_books_for_each_machine_that_the_caller_may_act_on(inn: Inn) -> None:
    """Those that are only seen are told as refused, the others are not there; all is audited once."""
    names = [machine.name for machine in await inn.house.machines.list()]
    mine, seen, hidden = names
    grants = (
        Grant(role=Role.OPERATOR, reach=Reach.MACHINE, name=mine),
        Grant(role=Role.VIEWER, reach=Reach.MACHINE, name=seen),
    )
    lines = await _lines(inn, "/v1/updates/book", *grants, select="all", identifier="x", start=LATER)
    assert {line["machine"]: (line["outcome"], line["code"]) for line in lines} == {
        mine: ("done", ""),
        seen: ("refused", "E_ACCESSDENIED"),
    }
    assert hidden not in json.dumps(lines)
    assert [b.machine for b in await inn.house.bookings.list()] == [mine]
    entry, _begun = await inn.house.audit.newest(Search(action="book_updates"), before=None, limit=5)
    assert mine in entry.fact.detail
    assert seen not in entry.fact.detail


async def test_a_dry_run_tells_and_does_nothing(inn: Inn) -> None:
    """For each of the three acts."""
    planned = await _lines(
        inn, "/v1/updates/book", OPERATOR, select="all", identifier="x", start=LATER, dry_run=True
    )
    assert {line["outcome"] for line in planned} == {"planned"}
    assert await inn.house.bookings.list() == []
    await _lines(inn, "/v1/updates/book", OPERATOR, select="all", identifier="x", start=LATER)
    cancelled = await _lines(inn, "/v1/updates/cancel", OPERATOR, select="all", dry_run=True)
    labelled = await _lines(inn, "/v1/machines/label", ADMINISTRATOR, select="all", add=["lab"], dry_run=True)
    assert len(planned) == len(cancelled) == len(labelled) == len(await inn.house.bookings.list()) == 3
    assert all(not machine.labels for machine in await inn.house.machines.list() if "lab" in machine.labels)


async def test_what_has_started_is_told_and_the_others_are_done(inn: Inn) -> None:
    """Both when it is booked again and when it is taken back."""
    await _lines(inn, "/v1/updates/book", OPERATOR, select="all", identifier="x", start=LATER)
    await inn.house.bookings.started("web-1", "x", 7)
    again = await _lines(inn, "/v1/updates/book", OPERATOR, select="all", identifier="x", start=LATER)
    refused = {line["machine"]: line["code"] for line in again if line["outcome"] == "refused"}
    assert refused == {"web-1": "ERROR_ALREADY_EXISTS"}
    cancelled = await _lines(inn, "/v1/updates/cancel", OPERATOR, select="all", identifier="x")
    assert {line["machine"]: line["code"] for line in cancelled if line["outcome"] == "refused"} == {
        "web-1": "ERROR_BUSY"
    }
    assert [b.machine for b in await inn.house.bookings.list()] == ["web-1"]


async def test_labels_are_given_and_taken_by_administrators(inn: Inn) -> None:
    """A selector by label finds them from then on, in lists too."""
    refused = await inn.ask("POST", "/v1/machines/label", VIEWER, body={"select": "all", "add": ["lab"]})
    assert refused.status_code == 403
    await _lines(inn, "/v1/machines/label", ADMINISTRATOR, select="web-*", add=["lab"])
    listed = (await inn.ask("GET", "/v1/machines?select=label:lab", ADMINISTRATOR)).json()["machines"]
    assert [machine["name"] for machine in listed] == ["web-1"]
    await _lines(inn, "/v1/machines/label", ADMINISTRATOR, select="label:lab", remove=["lab"])
    empty = await inn.ask("POST", "/v1/updates/cancel", OPERATOR, body={"select": "label:lab"})
    assert (empty.status_code, empty.json()["hresult"]) == (404, 0x80070490)
    assert await _lines(inn, "/v1/updates/cancel", OPERATOR, select="label:lab", allow_empty=True) == []


async def test_a_misspelled_word_is_told_and_nothing_is_done(inn: Inn) -> None:
    """Also where it was to spare machines, and others match: unless the selector is to be taken as it is."""
    body = {"select": "all and not label:wbe", "identifier": "x", "start": LATER}
    refused = await inn.ask("POST", "/v1/updates/book", OPERATOR, body=body)
    assert (refused.status_code, refused.json()["hresult"]) == (404, 0x80070490)
    assert "No machine matches “label:wbe”" in refused.text
    assert await inn.house.bookings.list() == []
    assert len(await _lines(inn, "/v1/updates/book", OPERATOR, **body, allow_empty=True)) == 3


async def test_machines_are_put_into_windows_and_taken_out(inn: Inn) -> None:
    """Each by its UUID; whom a pattern means is told; a window for nobody is refused."""
    path = "/v1/windows/night/machines"
    window = {"name": "night", "opens_at": "22:00", "duration_seconds": 3600, "weekdays": ["mon"]}
    assert (
        await inn.ask("POST", "/v1/windows", ADMINISTRATOR, body={**window, "machines": ["web-*"]})
    ).status_code == 201
    assert (await inn.ask("POST", path, OPERATOR, body={"select": "all"})).status_code == 403
    planned = await _lines(inn, path, ADMINISTRATOR, select="all", dry_run=True)
    assert {line["outcome"] for line in planned} == {"planned"}
    assert (await inn.house.windows.get("night")).machines == ("web-*",)
    assert len(await _lines(inn, path, ADMINISTRATOR, select="web-1 or db-1")) == 2
    found = await inn.house.windows.get("night")
    db = await inn.house.machines.get("db-1")
    assert (found.machines, dict(found.pins)) == (("web-*", "db-1"), {"db-1": db.uuid})
    for dry_run, outcome in ((True, "planned"), (False, "done")):
        lines = await _lines(inn, path, ADMINISTRATOR, select="all", remove=True, dry_run=dry_run)
        assert {line["machine"]: line["outcome"] for line in lines} == {
            "db-1": outcome,
            "old-1": outcome,
            "web-1": "refused",
        }
    assert (await inn.house.windows.get("night")).machines == ("web-*",)
    await inn.ask("POST", "/v1/windows", ADMINISTRATOR, body={**window, "machines": ["db-1"]})
    for_none = await inn.ask("POST", path, ADMINISTRATOR, body={"select": "db-1", "remove": True})
    assert (for_none.status_code, "covers no machine" in for_none.text) == (422, True)
    missing = await inn.ask("POST", "/v1/windows/day/machines", ADMINISTRATOR, body={"select": "all"})
    assert missing.status_code == 404


async def test_lists_come_in_pages_that_are_the_whole_list_together(inn: Inn) -> None:
    """Of machines and of bookings, in their order, whoever asks."""
    for number in range(4):
        await _lines(inn, "/v1/updates/book", OPERATOR, select="all", identifier=f"u{number}", start=LATER)
    for path, field in (("/v1/machines", "machines"), ("/v1/updates", "updates")):
        whole = (await inn.ask("GET", path, OPERATOR)).json()
        assert whole["next_after"] is None
        found, after = [], None
        while True:
            query = {"limit": 2} | ({} if after is None else {"after": after})
            page = (await inn.ask("GET", f"{path}?{_encoded(query)}", OPERATOR)).json()
            assert len(page[field]) <= 2
            found += page[field]
            after = page["next_after"]
            if after is None:
                break
        assert found == whole[field]


def _encoded(query: Mapping[str, object]) -> str:
    return urlencode(query)


def test_the_command_line_and_the_client_act_on_selections(service: Service) -> None:
    """A line for each machine; refusals in the exit code; an empty selection only where that is said."""
    booked = service.run(
        "update", "book", "web-* and not db-1", "--identifier", "bulk", "--start", "2031-01-01"
    )
    assert booked.code == 0, booked.err
    assert "done" in booked.out
    with service.connect() as inn:
        selection = inn.machines.select("name:web-1")
        assert [machine.name for machine in selection] == ["web-1"]
        (line,) = selection.cancel_updates("bulk", dry_run=True)
        assert (line.machine, line.identifier, line.outcome) == ("web-1", "bulk", BulkOutcome.PLANNED)
        with pytest.raises(InvalidArgument, match="No machine matches"):
            list(inn.machines.select("nobody-*").cancel_updates())
    lines = service.run("update", "cancel", "web-*", "--identifier", "bulk", "--json").out.splitlines()
    assert [json.loads(line)["outcome"] for line in lines] == ["done"] * len(lines)
    assert service.run("update", "cancel", "nobody-*").code == 3
    assert service.run("update", "cancel", "nobody-*", "--allow-empty").code == 0
    assert service.run("update", "cancel", "lable:web").code == 2
    service.run(
        "window", "add", "bulk", "--machines", "nobody", "--days", "mon", "--at", "2:00", "--for", "1h"
    )
    assert "web-1" in service.run("window", "include", "bulk", "web-* or db-1").out
    assert service.run("window", "exclude", "bulk", "web-* or db-1").code == 0
    service.run("window", "remove", "bulk")
    assert "web-1" in service.run("machine", "label", "web-*", "add", "bulk").out
    assert "web-1" in service.run("machine", "list", "label:bulk").out
    service.run("machine", "label", "label:bulk", "remove", "bulk")
