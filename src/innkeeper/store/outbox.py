"""Events of all servers in one database, numbered in the order in which they become visible (PostgreSQL)."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from innkeeper.errors import ErrorCode, ServiceError
from innkeeper.store.database import Database
from innkeeper.store.outbox_tables import outbox, outbox_counter
from innkeeper.wire.events import Event, EventKind

if TYPE_CHECKING:  # SQLite needs no psycopg
    import psycopg

#: Rows that are deleted at once.
_FORGET_BATCH: Final = 5_000
_CONNECT_SECONDS: Final = 10
_KINDS: Final = {kind.value: kind for kind in EventKind}

#: One statement, and so one transaction: the counter's row is locked from the numbering to the commit, and a
#: server that is stopped in the middle holds nothing. Whoever writes next waits, and gets higher numbers.
_APPEND = sa.text("""
    with fresh as (
        select * from unnest(
            cast(:numbers as bigint[]), cast(:ats as timestamptz[]), cast(:kinds as text[]),
            cast(:subjects as text[]), cast(:bodies as text[])
        ) with ordinality as row (number, at, kind, subject, body, place)
    ), counter as (
        update outbox_counter set last = last + (select count(*) from fresh) where id = 1 returning last
    ), added as (
        insert into outbox (seq, source, number, at, kind, subject, body)
        select counter.last - (select count(*) from fresh) + place, :source, number, at, kind, subject, body
        from fresh, counter
    )
    select pg_notify('innkeeper_events', '') from counter
""")
_NEWEST = sa.select(outbox_counter.c.life, outbox_counter.c.last)
_AFTER = (
    sa.select(outbox)
    .where(outbox.c.seq > sa.bindparam("place"))
    .order_by(outbox.c.seq)
    .limit(sa.bindparam("most"))
)
_BOOKINGS = (
    sa.select(outbox)
    .where(
        outbox.c.seq > sa.bindparam("place"),
        outbox.c.seq <= sa.bindparam("last"),
        outbox.c.kind.in_([EventKind.UPDATE_BOOKED.value, EventKind.UPDATE_DELETED.value]),
    )
    .order_by(outbox.c.seq)
)
#: The same, for a connection without SQLAlchemy.
_READ_NEWEST: Final = "select life, last from outbox_counter"
_READ_AFTER: Final = (
    "select seq, source, number, at, kind, subject, body from outbox where seq > %s order by seq limit %s"
)
_KNOWN = sa.select(sa.func.max(outbox.c.number)).where(outbox.c.source == sa.bindparam("of"))
_FORGET = sa.text("""
    delete from outbox where seq <= (select last - :keep from outbox_counter)
        and seq < (select min(seq) from outbox) + :batch
""")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ToldEvent:
    """An event with its number in the inn, and the process that told it."""

    number: int
    source: str
    event: Event


class SqlOutbox:
    """An ``Outbox`` on PostgreSQL."""

    def __init__(self, database: Database, to_listen_at: sa.URL | None = None) -> None:
        """``to_listen_at`` is the same database without a pooler before it, where there is one."""
        self._database = database
        self._to_listen_at = to_listen_at or database.url

    async def newest(self) -> tuple[str, int]:
        """Return the life of the numbers, and the newest."""
        life, last = await self._database.read(lambda c: c.execute(_NEWEST).one())
        return str(life), int(last)

    async def append(self, source: str, events: Sequence[tuple[int, Event]]) -> None:
        """Number and keep events; those whose write has come through without its answer are left out."""
        try:
            await self._append(source, events)
        except sa.exc.IntegrityError:
            known = await self._database.read(lambda c: c.scalar(_KNOWN, {"of": source})) or 0
            if missing := [(number, event) for number, event in events if number > known]:
                await self._append(source, missing)

    async def after(self, number: int, limit: int) -> Sequence[ToldEvent]:
        """Return the events after a number, in order."""
        wanted = {"place": number, "most": limit}
        rows = await self._database.read(lambda c: c.execute(_AFTER, wanted).all())
        return [_told(*row) for row in rows]

    async def bookings_between(self, number: int, last: int) -> Sequence[ToldEvent]:
        """Return what was booked or taken back after a number, up to another, in order."""
        wanted = {"place": number, "last": last}
        rows = await self._database.read(lambda c: c.execute(_BOOKINGS, wanted).all())
        return [_told(*row) for row in rows]

    @contextlib.asynccontextmanager
    async def following(self) -> AsyncIterator[SqlFollowing]:
        """Connect a reader, outside the pool: a connection that listens does nothing else."""
        import psycopg

        url = self._to_listen_at.set(drivername="postgresql").render_as_string(hide_password=False)
        with _our_errors():
            connection = await psycopg.AsyncConnection.connect(
                url,
                autocommit=True,
                connect_timeout=_CONNECT_SECONDS,
                application_name="innkeeper events",
                prepare_threshold=None,  # PgBouncer gives each transaction another session
            )
        async with contextlib.AsyncExitStack() as opened:
            opened.push_async_callback(connection.close)
            with _our_errors():
                await connection.execute("listen innkeeper_events")
            yield SqlFollowing(connection)

    async def forget(self, keep: int) -> None:
        """Forget all but the newest, some thousand at a time."""
        rows = {"keep": keep, "batch": _FORGET_BATCH}
        while await self._database.write(lambda c: c.execute(_FORGET, rows).rowcount, lazily=True):
            continue

    async def _append(self, source: str, events: Sequence[tuple[int, Event]]) -> None:
        rows = {
            "source": source,
            "numbers": [number for number, _ in events],
            "ats": [event.at for _, event in events],
            "kinds": [event.kind.value for _, event in events],
            "subjects": [event.subject.replace("\0", "\N{SYMBOL FOR NULL}") for _, event in events],
            "bodies": [json.dumps(event.data) for _, event in events],
        }
        await self._database.write_alone(_APPEND, rows)


class SqlFollowing:
    """A reader with a connection of its own (``Following``)."""

    def __init__(self, connection: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
        self._connection = connection

    async def newest(self) -> tuple[str, int]:
        """Return the life of the numbers, and the newest."""
        ((life, last),) = await self._rows(_READ_NEWEST)
        return str(life), int(str(last))

    async def after(self, number: int, limit: int) -> Sequence[ToldEvent]:
        """Return the events after a number, in order."""
        return [_told(*row) for row in await self._rows(_READ_AFTER, number, limit)]

    async def told(self, timeout_seconds: float) -> None:
        """Return when something new was written since the last read, or after the time."""
        with _our_errors():
            async for _ in self._connection.notifies(timeout=timeout_seconds, stop_after=1):
                continue

    async def _rows(self, query: str, *values: object) -> Sequence[tuple[object, ...]]:
        with _our_errors():
            return await (await self._connection.execute(query.encode(), values)).fetchall()


def _told(
    seq: object, source: object, _: object, at: object, kind: object, subject: object, body: object
) -> ToldEvent:
    assert isinstance(seq, int)
    assert isinstance(at, dt.datetime)
    return ToldEvent(
        number=seq,
        source=str(source),
        event=_event(str(kind), str(subject), at.astimezone(dt.UTC), str(body)),
    )


def _event(kind: str, subject: str, at: dt.datetime, body: str) -> Event:
    known = _KINDS.get(kind)
    if known is None:  # a server of a newer release tells of something that this one cannot name
        return Event(kind=EventKind.EVENTS_LOST, subject="", at=at)
    return Event(kind=known, subject=subject, at=at, data=json.loads(body))


@contextlib.contextmanager
def _our_errors() -> Iterator[None]:
    import psycopg

    try:
        yield
    except psycopg.Error as exc:
        raise ServiceError(
            f"Innkeeper's database failed while events were read: {exc}",
            code=ErrorCode.E_FAIL,
            advice="See that PostgreSQL runs and takes connections.",
        ) from exc
