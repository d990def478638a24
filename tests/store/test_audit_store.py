"""The audit log: one line, that shows each byte that was changed, removed or moved."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa

from innkeeper.errors import InnkeeperError
from innkeeper.identity.audit import (
    GENESIS,
    Audit,
    AuditStore,
    Head,
    Outcome,
    Search,
    Verdict,
    next_entry,
)
from innkeeper.identity.caller import Caller, Proof
from innkeeper.identity.memory import MemoryAuditStore
from innkeeper.store.audit_store import SqlAuditStore
from innkeeper.store.database import Database
from innkeeper.store.identity_tables import audit, audit_head
from innkeeper.tasks.clock import FakeClock

ANA = Caller(user="ana", realm="LAB", proof=Proof.TOKEN, by="ci", address="192.0.2.1")
_WRITER = Path(__file__).with_name("audit_writer.py")


def _store(place: Database | None) -> AuditStore:
    return MemoryAuditStore() if place is None else SqlAuditStore(place)


async def _filled(store: AuditStore, acts: int = 3) -> Audit:
    clock = FakeClock()
    log = Audit(store, clock)
    for number in range(acts):
        begun = await log.begin(ANA, "command_machine", f"machine web-{number}", "POST /v1/machines")
        await clock.advance(1.25)
        await log.end(begun, Outcome.DONE, "note")
    return log


async def test_an_act_is_told_before_and_after(place: Database | None) -> None:
    """Who, by what proof, from where, what, on what, and how it ended."""
    log = await _filled(_store(place), acts=1)
    ended, begun = await log.newest()
    assert (begun.number, begun.previous, begun.fact.outcome, begun.fact.act) == (
        1,
        GENESIS,
        Outcome.BEGUN,
        None,
    )
    assert (begun.fact.who, begun.fact.proof, begun.fact.address) == ("ana@LAB", "token ci", "192.0.2.1")
    assert (begun.fact.action, begun.fact.on) == ("command_machine", "machine web-0")
    assert (ended.number, ended.previous, ended.fact.outcome, ended.fact.act) == (
        2,
        begun.seal,
        Outcome.DONE,
        1,
    )
    assert ended.fact.at - begun.fact.at == dt.timedelta(seconds=1.25)
    assert (await log.verify()) == Verdict(head=Head(number=2, seal=ended.seal))


async def test_it_is_searched_and_read_page_by_page(place: Database | None) -> None:
    """Newest first; whole, oldest first."""
    log = await _filled(_store(place))
    await log.refused(dataclasses.replace(ANA, user="bob"), "remove_user", "", "no")
    assert [entry.number for entry in await log.newest(limit=2)] == [7, 6]
    assert [entry.number for entry in await log.newest(before=3)] == [2, 1]
    assert [entry.number for entry in await log.newest(Search(who="bob@LAB"))] == [7]
    assert [entry.number for entry in await log.newest(Search(on="machine web-1"))] == [4, 3]
    assert [entry.number for entry in await log.newest(Search(action="remove_user"))] == [7]
    since = (await log.newest())[0].fact.at
    assert [entry.number for entry in await log.newest(Search(since=since))] == [7, 6]
    assert [entry.number async for entry in log.all()] == [1, 2, 3, 4, 5, 6, 7]


async def test_what_could_fool_a_terminal_is_shown_instead(place: Database | None) -> None:
    """And what is too long is cut; the seal is over what is kept."""
    log = Audit(_store(place), FakeClock())
    await log.shut_out("bob\n2 root\x1b[2J\0", "192.0.2.1", "x" * 5000)
    (entry,) = await log.newest()
    assert entry.fact.who == "bob�2 root�[2J�"
    assert len(entry.fact.detail) == 500
    assert (await log.verify()).ok


async def test_nothing_but_a_new_entry_is_taken(database: Database) -> None:
    """The database itself refuses to change or to remove one."""
    await _filled(SqlAuditStore(database))
    changes: list[sa.Executable] = [
        sa.update(audit).values(who="nobody"),
        sa.update(audit).where(audit.c.number == 1).values(detail=""),
        sa.delete(audit).where(audit.c.number == 6),
        sa.delete(audit),
    ]
    if not database.is_sqlite:
        changes.append(sa.text("TRUNCATE audit"))
    for change in changes:
        with pytest.raises((InnkeeperError, sa.exc.DBAPIError), match="only added to"):
            await database.write(partial(sa.Connection.execute, statement=change))
    assert (await Audit(SqlAuditStore(database), FakeClock()).verify()).head.number == 6


async def _tamper(database: Database, *changes: sa.Executable) -> None:
    """As somebody who has the whole database in their hand."""

    def change(connection: sa.Connection) -> None:
        if database.is_sqlite:
            connection.exec_driver_sql("DROP TRIGGER audit_is_not_updated")
            connection.exec_driver_sql("DROP TRIGGER audit_is_not_deleted")
        else:
            connection.exec_driver_sql("ALTER TABLE audit DISABLE TRIGGER ALL")
        for each in changes:
            connection.execute(each)

    await database.write(change)


def _at(number: int) -> sa.ColumnElement[bool]:
    return audit.c.number == number


@pytest.mark.parametrize(
    "column",
    ["who", "proof", "address", "action", "on", "outcome", "detail", "previous", "seal", "at", "act"],
)
async def test_each_changed_byte_is_found(database: Database, column: str) -> None:
    """Whatever field it is in."""
    store = SqlAuditStore(database)
    log = await _filled(store)
    entry = (await store.entries(after=3, limit=1))[0]
    former = getattr(entry.fact, column, None) if hasattr(entry.fact, column) else getattr(entry, column)
    changed: dict[str, object] = {
        "at": entry.fact.at + dt.timedelta(microseconds=1),
        "act": 2,
        "outcome": "failed",
        "seal": "f" * 64,
        "previous": "0" * 64,
    }
    new = changed.get(column, f"{former}.")
    await _tamper(database, sa.update(audit).where(_at(4)).values({column: new}))
    verdict = await log.verify()
    assert (verdict.ok, verdict.broken_at) == (False, 4)


@pytest.mark.parametrize("removed", [1, 3, 6])
async def test_a_removed_entry_is_found(database: Database, removed: int) -> None:
    """The first, one in the middle, and the last."""
    log = await _filled(SqlAuditStore(database))
    await _tamper(database, sa.delete(audit).where(_at(removed)))
    assert (await log.verify()).broken_at == removed
    # What is written after it does not heal the log.
    await log.entered(ANA)
    assert (await log.verify()).broken_at == removed


async def test_entries_in_another_order_are_found(database: Database) -> None:
    """Also where they were numbered anew."""
    log = await _filled(SqlAuditStore(database))
    moves = [(2, 100), (3, 2), (100, 3)]
    await _tamper(database, *(sa.update(audit).where(_at(a)).values(number=b) for a, b in moves))
    assert (await log.verify()).broken_at == 2


async def test_a_line_that_was_forged_from_its_middle_on_is_found_by_a_head_that_was_kept(
    database: Database,
) -> None:
    """Whoever seals all anew has no word against what was written down elsewhere."""
    store = SqlAuditStore(database)
    log = await _filled(store)
    kept = (await log.verify()).head
    entries = list(await store.entries(after=0, limit=10))
    head, forged = Head(), []
    for entry in entries:
        fact = dataclasses.replace(entry.fact, who="nobody") if entry.number == 3 else entry.fact
        made = next_entry(head, fact)
        forged.append(made)
        head = Head(number=made.number, seal=made.seal)
    await _tamper(
        database,
        *(
            sa.update(audit)
            .where(_at(entry.number))
            .values(who=entry.fact.who, previous=entry.previous, seal=entry.seal)
            for entry in forged
        ),
        sa.update(audit_head).values(seal=head.seal),
    )
    assert (await log.verify()).ok
    assert (await log.verify(kept)).broken_at == 6


def test_every_entry_is_there_after_kill_9(tmp_path: Path) -> None:
    """All that the process said was written, and the line is whole."""
    url = f"sqlite:///{tmp_path}/innkeeper.sqlite"
    last = 0
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, str(_WRITER), url, "ana", "100000"], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            message = [int(writer.stdout.readline()) for _ in range(25)]
            writer.kill()
            message += [int(line) for line in writer.stdout.read().splitlines() if line]
        assert message[0] > last
        last = message[-1]
    assert _verified(url).head.number >= last


def test_several_servers_write_one_line(postgres_database: sa.URL) -> None:
    """On PostgreSQL, at the same time."""
    url = postgres_database.render_as_string(hide_password=False)
    _verified(url)  # makes the tables
    writers = [
        subprocess.Popen([sys.executable, str(_WRITER), url, f"user{n}", "40"], stdout=subprocess.DEVNULL)
        for n in range(3)
    ]
    assert [writer.wait(120) for writer in writers] == [0, 0, 0]
    verdict = _verified(url)
    assert (verdict.ok, verdict.head.number) == (True, 120)


def _verified(url: str) -> Verdict:

    async def verify() -> Verdict:
        database = await Database.connect(sa.make_url(url))
        await database.migrate()
        verdict = await Audit(SqlAuditStore(database), FakeClock()).verify()
        await database.close()
        return verdict

    return asyncio.run(verify())
