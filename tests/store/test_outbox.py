"""Events through the database: each once, in one order, at every server, whatever is killed or restarted."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import itertools
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import sqlalchemy as sa

from innkeeper.errors import ServiceError
from innkeeper.server.events.bus import EventBus
from innkeeper.server.events.log import Numbered
from innkeeper.server.events.shared import SharedLog
from innkeeper.store.database import Database
from innkeeper.store.outbox import SqlOutbox
from innkeeper.wire.events import Event, EventKind

_AT = dt.datetime(2026, 11, 21, 22, tzinfo=dt.UTC)
_ALL = 1_000_000


def _event(subject: str | int, kind: EventKind = EventKind.TASK_CHANGED) -> Event:
    return Event(kind=kind, subject=str(subject), at=_AT, data={"of": str(subject)})


@pytest.fixture
async def shared(postgres_database: sa.URL) -> AsyncIterator[Database]:
    """An open PostgreSQL."""
    database = await Database.connect(postgres_database)
    await database.migrate()
    yield database
    await database.close()


@contextlib.asynccontextmanager
async def _server(database: Database, *, max_waiting: int = 20_000) -> AsyncIterator[EventBus]:
    """The stream of one server."""
    log = SharedLog(SqlOutbox(database), max_waiting=max_waiting)
    bus = EventBus(log)
    bus.attach(asyncio.get_running_loop())
    loops = [asyncio.create_task(each()) for each in (log.write_for_ever, log.read_for_ever)]
    try:
        yield bus
    finally:
        for loop in loops:
            loop.cancel()
        await asyncio.wait(loops)
        await log.write_last()


async def test_bookings_at_other_doors_are_heard_though_nobody_watches(shared: Database) -> None:
    """And nothing else: what happens in the night of a hundred servers is not read by all of them."""
    heard: list[str] = []
    log = SharedLog(SqlOutbox(shared))
    log.on_others(lambda event: heard.append(event.subject))
    following = asyncio.create_task(log.follow_bookings())
    try:
        async with asyncio.timeout(30):
            for number in itertools.count():
                await SqlOutbox(shared).append(
                    f"another {number}",
                    [
                        (1, _event("noise")),
                        (2, _event(number, EventKind.UPDATE_BOOKED)),
                        (3, _event(number, EventKind.UPDATE_DELETED)),
                    ],
                )
                await asyncio.sleep(0.1)
                if len(heard) >= 4:  # it follows what comes after it began
                    break
    finally:
        following.cancel()
        await asyncio.wait({following})
    assert "noise" not in heard
    assert heard[::2] == heard[1::2] == [str(int(heard[0]) + step) for step in range(len(heard) // 2)]


async def _heard(bus: EventBus, count: int, last_id: str = "") -> list[Numbered]:
    """So many events but those that say that some are lost."""
    heard: list[Numbered] = []
    async with asyncio.timeout(30), contextlib.aclosing(bus.listen(last_id)) as events:
        async for numbered in events:
            if numbered.event.kind is not EventKind.EVENTS_LOST:
                heard.append(numbered)
            if len(heard) == count:
                break
    return heard


def _subjects(heard: Sequence[Numbered]) -> list[str]:
    return [numbered.event.subject for numbered in heard]


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for the reader for as long as it takes."""
    monkeypatch.setattr("innkeeper.server.events.shared._CATCH_UP_SECONDS", 60.0)


# The numbers


async def test_a_reader_who_asks_for_what_follows_the_last_misses_nothing_of_many_writers(
    shared: Database,
) -> None:
    """Numbers become visible in their order, however the writers' transactions lie."""
    outbox = SqlOutbox(shared)

    async def write(source: str) -> None:
        for first in range(1, 61, 3):
            await outbox.append(source, [(number, _event(number)) for number in range(first, first + 3)])

    writers = [asyncio.create_task(write(f"server {number}")) for number in range(8)]
    seen: list[tuple[str, int]] = []
    last = 0
    while len(seen) < 8 * 60:
        assert not all(each.done() for each in writers) or await outbox.after(last, 1), "some were missed"
        for told in await outbox.after(last, 100):
            assert told.number == last + 1
            seen.append((told.source, int(told.event.subject)))
            last = told.number
    for source in {source for source, _ in seen}:
        assert [number for told, number in seen if told == source] == list(range(1, 61))
    await asyncio.gather(*writers)


async def test_a_write_that_is_repeated_is_made_once(shared: Database) -> None:
    """Where the answer to a commit was lost, the same events are given again, and perhaps some more."""
    outbox = SqlOutbox(shared)
    await outbox.append("attic", [(1, _event(1)), (2, _event(2))])
    await outbox.append("attic", [(1, _event(1)), (2, _event(2))])
    await outbox.append("attic", [(1, _event(1)), (2, _event(2)), (3, _event(3))])
    told = await outbox.after(0, _ALL)
    assert [(each.number, each.event) for each in told] == [(n, _event(n)) for n in (1, 2, 3)]


async def test_an_event_of_a_newer_release_is_told_as_lost(shared: Database) -> None:
    """A viewer reads anew what this release has no word for."""
    outbox = SqlOutbox(shared)
    await outbox.append("attic", [(1, _event(1))])
    await shared.write(lambda c: c.execute(sa.text("update outbox set kind = 'moon.risen'")))
    (told,) = await outbox.after(0, _ALL)
    assert (told.event.kind, told.event.subject) == (EventKind.EVENTS_LOST, "")


async def test_the_oldest_are_forgotten(shared: Database) -> None:
    """The table does not grow for ever, and the newest stay."""
    outbox = SqlOutbox(shared)
    await outbox.append("attic", [(number, _event(number)) for number in range(1, 31)])
    await outbox.forget(10)
    assert [each.number for each in await outbox.after(0, _ALL)] == list(range(21, 31))


# Viewers


async def test_what_happens_at_one_server_is_heard_at_another_under_the_same_id(shared: Database) -> None:
    """Both doors tell one stream."""
    async with _server(shared) as attic, _server(shared) as cellar:
        since = await attic.newest_id()
        listening = [asyncio.create_task(_heard(bus, 3, since)) for bus in (attic, cellar)]
        attic.publish(_event("a"))
        attic.publish(_event("b"))
        await _heard(cellar, 2, since)
        cellar.publish(_event("c"))
        one, other = await asyncio.gather(*listening)
    assert _subjects(one) == ["a", "b", "c"]
    assert [numbered.id for numbered in one] == [numbered.id for numbered in other]


async def test_a_viewer_goes_on_at_another_door_after_the_last_id_it_saw(shared: Database) -> None:
    """A server that ends loses its viewers no event."""
    async with _server(shared) as attic, _server(shared) as cellar:
        since = await attic.newest_id()
        for number in range(1200):
            attic.publish(_event(number))
        first = await _heard(attic, 700, since)
        rest = await _heard(cellar, 500, first[-1].id)
    assert _subjects([*first, *rest]) == [str(number) for number in range(1200)]


async def test_a_viewer_whose_last_id_is_forgotten_or_foreign_is_told_so(shared: Database) -> None:
    """It reads anew, and hears what follows."""
    outbox = SqlOutbox(shared)
    await outbox.append("attic", [(number, _event(number)) for number in range(1, 31)])
    life, _ = await outbox.newest()
    await outbox.forget(10)
    async with _server(shared) as cellar:
        for last_id in (f"{life}-5", "another-25", f"{life}-99999", "nonsense"):
            async with asyncio.timeout(30), contextlib.aclosing(cellar.listen(last_id)) as events:
                assert (await anext(events)).event.kind is EventKind.EVENTS_LOST, last_id


async def test_a_subscriber_hears_its_own_server_at_once_and_others_only_where_it_asks(
    shared: Database,
) -> None:
    """Rooms that look after this server's machines are not woken for those of others."""
    own, others = list[str](), list[str]()
    async with _server(shared) as attic, _server(shared) as cellar:
        attic.subscribe(lambda event: own.append(event.subject))
        attic.subscribe_to_others(lambda event: others.append(event.subject))
        async with attic.up_to_date():
            since = await attic.newest_id()
            attic.publish(_event("mine"))
            await asyncio.sleep(0)
            assert own == ["mine"]
            cellar.publish(_event("theirs"))
            await _heard(attic, 2, since)
    assert own == ["mine"]
    assert [each for each in others if each] == ["theirs"]


async def test_only_a_server_with_viewers_holds_a_connection_that_listens(shared: Database) -> None:
    """At rest a server costs the database nothing."""
    count = sa.text("select count(*) from pg_stat_activity where application_name = 'innkeeper events'")

    async def listening() -> int:
        return int(await shared.read(lambda c: c.scalar(count)) or 0)

    async with _server(shared) as attic:
        attic.publish(_event(1))
        assert await listening() == 0
        async with attic.up_to_date():
            assert await listening() == 1


# What fails


async def _terminate_all(database: Database) -> None:
    kill = sa.text(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
    )
    await database.write(lambda c: c.execute(kill))


def _restart(url: sa.URL) -> None:
    """Stop PostgreSQL as a crash does, and start it again."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    data = Path(str(url.query["host"])) / "data"
    command: list[str | Path] = [
        programs[-1],
        "-D",
        data,
        "-m",
        "immediate",
        "-w",
        "-l",
        data.parent / "log",
        "restart",
    ]
    subprocess.run(command, check=True, capture_output=True, cwd="/")


async def test_nothing_is_lost_or_doubled_where_postgresql_is_restarted(shared: Database) -> None:
    """Servers write again what was not kept, and viewers go on after what they have read."""
    async with _server(shared) as attic, _server(shared) as cellar:
        since = await attic.newest_id()
        async with cellar.up_to_date():
            hearing = asyncio.create_task(_heard(cellar, 3000, since))

            async def tell() -> None:
                for number in range(3000):
                    attic.publish(_event(number))
                    await asyncio.sleep(0.001 if number % 3 == 0 else 0)

            telling = asyncio.create_task(tell())
            await asyncio.sleep(0.3)
            await asyncio.to_thread(_restart, shared.url)
            await _terminate_all(await Database.connect(shared.url))
            await telling
            heard = await hearing
    assert _subjects(heard) == [str(number) for number in range(3000)]


async def test_more_events_than_may_wait_for_the_database_are_told_as_lost(shared: Database) -> None:
    """The oldest give way, and viewers are told to read anew before the rest."""
    async with _server(shared, max_waiting=10) as attic:
        since = await attic.newest_id()
        for number in range(100):
            attic.publish(_event(number))
        async with asyncio.timeout(30), contextlib.aclosing(attic.listen(since)) as events:
            heard = [await anext(events)]
            while heard[-1].event.subject != "99":
                heard.append(await anext(events))
    assert heard[-10].event.kind is EventKind.EVENTS_LOST
    assert _subjects(heard[-9:]) == [str(number) for number in range(91, 100)]


async def test_a_request_is_not_kept_waiting_for_a_database_that_is_away(shared: Database) -> None:
    """A page asks where the stream stands, and is answered that the service's database is away."""
    log = SharedLog(SqlOutbox(shared))
    await shared.close()
    with pytest.raises(ServiceError):
        async with asyncio.timeout(30):
            await log.newest_id()


_TELLER = """
import asyncio, sys
import sqlalchemy as sa
sys.path.insert(0, "")
from tests.store.test_outbox import tell_for_ever
asyncio.run(tell_for_ever(sa.make_url(sys.argv[1])))
"""


async def tell_for_ever(url: sa.URL) -> None:
    """Tell events until killed, and give none up, however slow the database is; a process of its own."""
    database = await Database.connect(url)
    async with _server(database, max_waiting=sys.maxsize) as bus:
        number = 0
        while True:
            bus.publish(_event(number))
            number += 1
            await asyncio.sleep(0.001)


async def test_a_server_that_is_killed_in_the_middle_holds_up_nobody(shared: Database) -> None:
    """What it had written is whole and in order, and others' events go on at once."""
    async with _server(shared) as cellar:
        since = await cellar.newest_id()
        url = shared.url.render_as_string(hide_password=False)
        teller = subprocess.Popen([sys.executable, "-c", _TELLER, url])
        await _heard(cellar, 2000, since)
        teller.send_signal(signal.SIGKILL)
        await asyncio.to_thread(teller.wait)
        cellar.publish(_event("after"))
        async with asyncio.timeout(30), contextlib.aclosing(cellar.listen(since)) as events:
            while (await anext(events)).event.subject != "after":
                continue
    told = await SqlOutbox(shared).after(0, _ALL)
    assert [each.number for each in told] == list(range(1, len(told) + 1))
    killed = [each.event.subject for each in told if each.event.subject not in ("", "after")]
    assert killed == [str(number) for number in range(len(killed))]
