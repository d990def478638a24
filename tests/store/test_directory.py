"""The directory of machines and hosts, and the authority of servers."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

from innkeeper.machines.directory import HostEntry, MachineEntry, Wanted
from innkeeper.servers.lease import Reach
from innkeeper.store.authority_store import SqlAuthorityStore
from innkeeper.store.database import Database
from innkeeper.store.directory import SqlDirectory
from innkeeper.store.leases import Leases
from innkeeper.wire.states import MachineState


def entry(name: str, host: str = "attic", state: MachineState = MachineState.RUNNING) -> MachineEntry:
    """A machine of that name on a host."""
    return MachineEntry(
        key=f"{host}-id/{name}",
        host_id=f"{host}-id",
        host=host,
        name=name,
        uuid=name,
        state=state,
        labels=("web",),
        summary=f'{{"name":"{name}"}}',
    )


@pytest.fixture
def directory(database: Database) -> SqlDirectory:
    """An empty directory."""
    return SqlDirectory(database, "")


async def test_pages_follow_one_another_in_the_order_of_code_points(directory: SqlDirectory) -> None:
    """As Python compares names, whatever the database's language is."""
    names = ["ärger", "Web-1", "web-1", "web_2", "web-10", "Zoo", "a b", "_x"]
    await directory.update([*map(entry, names), entry("web-1", "cellar")], ())
    listed: list[tuple[str, str]] = []
    while page := await directory.page(after=listed[-1] if listed else None, limit=2):
        listed += [each.place for each in page]
    assert listed == sorted([*((name, "attic") for name in names), ("web-1", "cellar")])


async def test_a_machine_is_found_whatever_the_case_of_its_letters(directory: SqlDirectory) -> None:
    """On each host that has one of its name."""
    await directory.update([entry("Web-1"), entry("web-1", "cellar"), entry("web-2")], ())
    assert [each.host for each in await directory.find("WEB-1")] == ["attic", "cellar"]
    assert await directory.find("web") == []


async def test_what_is_asked_for_is_found_alone(directory: SqlDirectory) -> None:
    """By host, state and text; a percent sign in a text is one."""
    off = entry("db%1", "cellar", MachineState.TURNED_OFF)
    await directory.update([entry("web-1"), entry("web-2", "cellar"), off], ())
    for wanted, found in (
        (Wanted(host="cellar"), ["db%1", "web-2"]),
        (Wanted(state=MachineState.TURNED_OFF), ["db%1"]),
        (Wanted(text="B%"), ["db%1"]),
        (Wanted(text="e%"), []),
        (Wanted(but_hosts=["attic-id"]), ["db%1", "web-2"]),
    ):
        assert [each.name for each in await directory.page(wanted, limit=9)] == found


async def test_changes_and_departures_are_written_together(directory: SqlDirectory) -> None:
    """A machine that went is gone, and one that changed is as it is now."""
    await directory.update([entry("web-1"), entry("web-2")], ())
    changed = entry("web-1", state=MachineState.TURNED_OFF)
    await directory.update([changed], ["attic-id/web-2"])
    assert await directory.of_host("attic-id") == [changed]


async def test_a_host_that_no_settings_name_any_more_is_forgotten_with_its_machines(
    database: Database, directory: SqlDirectory
) -> None:
    """At its server's next start, though that had it until then; one that another server reaches is not."""
    leases = Leases(database)
    for server, host in (("one", "attic"), ("one", "barn"), ("two", "barn")):
        uri = f"test:///{host}"
        reach = Reach(host_id=f"{host}-id", server_id=server, stand_in=False, name=host, uri=uri)
        assert await leases.enter(reach) is None
        await leases.take(server, f"{host}-id")
    seen = dt.datetime(2026, 1, 10, 2, 14, tzinfo=dt.UTC)
    attic = HostEntry(host_id="attic-id", name="attic", uri="test:///a", server="cellar-1", seen_at=seen)
    barn = HostEntry(host_id="barn-id", name="barn", uri="test:///b", server="cellar-1", reason="It is away.")
    await directory.put_hosts([barn, attic])
    await directory.update([entry("web-1"), entry("web-1", "barn")], ())
    assert await directory.hosts() == [attic, barn]
    await leases.keep("one", ["test:///attic"])
    assert await directory.hosts() == [attic, barn]
    await leases.keep("one", [])
    assert await directory.hosts() == [barn]
    assert [each.host for each in await directory.page(limit=9)] == ["barn"]


async def test_the_authority_is_made_once(database: Database) -> None:
    """Whichever of several servers that start together comes first."""
    made: list[str] = []

    def make() -> tuple[str, str]:
        made.append("made")
        return f"certificate {len(made)}", f"key {len(made)}"

    stores = [SqlAuthorityStore(database) for _ in range(4)]
    answers = await asyncio.gather(*(store.get_or_keep(make) for store in stores))
    assert set(answers) == {("certificate 1", "key 1")}
    assert made == ["made"]
