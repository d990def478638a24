"""Keep bookings in the database."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from innkeeper.channels.ports import UpdateStatus
from innkeeper.errors import BookingNotFound
from innkeeper.store.database import Database, upsert
from innkeeper.store.tables import bookings
from innkeeper.updates.booking import Booking, BookingVersion, Verdict


class SqlBookingStore:
    """A ``BookingStore`` on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, booking: Booking) -> None:
        """Add it, or replace the one with the same machine and identifier."""
        row = dataclasses.asdict(booking)
        row["machine_key"] = row.pop("key")
        await self._database.write(lambda c: upsert(c, bookings, row | {"machine": _name_of(c, booking)}))

    async def get(self, machine: str, identifier: str) -> Booking:
        """Raises ``BookingNotFound``."""
        query = sa.select(bookings).where(_is(machine, identifier))
        row = await self._database.read(lambda c: c.execute(query).one_or_none())
        if row is None:
            raise _not_found(machine, identifier)
        return _booking(row)

    async def list(self, *, machine: str | None = None, ended: bool | None = None) -> Sequence[Booking]:
        """By machine and identifier; ``ended`` asks for those with (or without) a verdict."""
        query = sa.select(bookings)
        if machine is not None:
            query = query.where(_of(machine))
        if ended is not None:
            query = query.where(bookings.c.verdict.is_not(None) if ended else bookings.c.verdict.is_(None))
        rows = await self._database.read(lambda c: c.execute(query).all())
        # In Python: each database has its own idea of the order of letters.
        return sorted((_booking(row) for row in rows), key=lambda b: (b.machine, b.identifier, b.key))

    async def versions(self) -> Mapping[tuple[str, str], BookingVersion]:
        """The versions of those without a verdict; no context is read."""
        query = sa.select(
            bookings.c.machine,
            bookings.c.machine_key,
            bookings.c.identifier,
            bookings.c.booked_at,
            bookings.c.task_id,
        ).where(bookings.c.verdict.is_(None))
        rows = await self._database.read(lambda c: c.execute(query).all())
        return {(key or machine, identifier): (at, task) for machine, key, identifier, at, task in rows}

    async def delete(self, machine: str, identifier: str) -> None:
        """Raises ``BookingNotFound``."""
        delete = sa.delete(bookings).where(_is(machine, identifier))
        if not await self._database.write(lambda c: c.execute(delete).rowcount):
            raise _not_found(machine, identifier)

    async def move(self, key: str, to: str) -> None:
        """Give a machine's bookings to it at another host, but those whose identifier it has there too."""
        there = sa.select(bookings.c.identifier).where(bookings.c.machine_key == to)
        moved = sa.update(bookings).where(bookings.c.machine_key == key, bookings.c.identifier.not_in(there))
        await self._database.write(lambda c: c.execute(moved.values(machine_key=to)))


def _of(machine: str) -> sa.ColumnElement[bool]:
    """Those of a machine, by its key; of one that is gone, by its name."""
    return (bookings.c.machine_key == machine) | (bookings.c.machine == machine)


def _name_of(connection: sa.Connection, booking: Booking) -> str:
    """The name that a booking has in its row: the one that it got, or its key where another has that name."""
    its_row = sa.select(bookings.c.machine).where(_is(booking.of, booking.identifier))
    if (name := connection.scalar(its_row)) is not None:
        return str(name)
    taken = sa.select(bookings.c.machine).where(_is(booking.machine, booking.identifier))
    return booking.machine if connection.scalar(taken) is None else booking.of


def _is(machine: str, identifier: str) -> sa.ColumnElement[bool]:
    return _of(machine) & (bookings.c.identifier == identifier)


def _not_found(machine: str, identifier: str) -> BookingNotFound:
    return BookingNotFound(
        f"No update “{identifier}” is booked for {machine}.", advice="List the machine's updates."
    )


def _booking(row: sa.Row[tuple[object, ...]]) -> Booking:
    return Booking(
        machine=row.machine,
        identifier=row.identifier,
        label=row.label,
        context=row.context,
        start=row.start,
        end=row.end,
        deadline=row.deadline,
        booked_by=row.booked_by,
        booked_at=row.booked_at,
        status=UpdateStatus(row.status),
        task_id=row.task_id,
        verdict=None if row.verdict is None else Verdict(row.verdict),
        reason=row.reason,
        next_chance=row.next_chance,
        key=row.machine_key,
    )
