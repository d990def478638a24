"""Keep bookings in the database."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from typing import Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from innkeeper.channels.ports import UpdateStatus
from innkeeper.errors import BookingNotFound
from innkeeper.store.database import Database, upsert, upsert_where
from innkeeper.store.tables import bookings
from innkeeper.updates.booking import (
    Booking,
    BookingCommand,
    BookingState,
    BookingVersion,
    Place,
    Verdict,
    states_before,
)
from innkeeper.updates.ports import BookingChange

T = TypeVar("T")


class SqlBookingStore:
    """A ``BookingStore`` on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, booking: Booking) -> None:
        """Add it, or replace the one with the same machine and identifier."""
        await self._database.write(lambda c: upsert(c, bookings, _named_row(c, booking)))

    async def book(self, booking: Booking, *, only_of: str | None = None) -> bool:
        """Add or replace it where its life allows, in one statement; whether it stands."""
        free = _may(BookingCommand.BOOK)
        if only_of is not None:
            free &= bookings.c.booked_by == only_of
        # A row that another machine took since its name was looked for is not its own.
        free &= bookings.c.machine_key.in_(["", booking.key])
        try:
            return await self._database.write(
                lambda c: upsert_where(c, bookings, _named_row(c, booking), free)
            )
        except sa.exc.IntegrityError:  # it was booked under another name since
            return False

    async def apply(self, command: BookingCommand, change: BookingChange) -> Booking | None:
        """Change it where its life allows, in one statement; ``None`` where not."""
        changed = change.values
        update = _applying(command, tuple(changed), is_of_one_booking=change.booked_at is not None)
        row = {
            "of_machine": change.machine,
            "of_identifier": change.identifier,
            "of_task": change.task_id,
            "of_booked_at": change.booked_at,
            **{f"new_{name}": value for name, value in changed.items()},
        }
        found = await self._database.write(lambda c: c.execute(update, row).one_or_none())
        return None if found is None else _booking(found)

    async def get(self, machine: str, identifier: str) -> Booking:
        """Raises ``BookingNotFound``."""
        wanted = {"of_machine": machine, "of_identifier": identifier}
        row = await self._database.read(lambda c: c.execute(_GET, wanted).one_or_none())
        if row is None:
            raise _not_found(machine, identifier)
        return _booking(row)

    async def list(self, *, machine: str | None = None, ended: bool | None = None) -> Sequence[Booking]:
        """By machine and identifier; ``ended`` asks for those with (or without) a verdict."""
        query = sa.select(bookings).where(*_wanted(machine, ended))
        rows = await self._database.read(lambda c: c.execute(query).all())
        # In Python: each database has its own idea of the order of letters.
        return sorted((_booking(row) for row in rows), key=lambda b: (b.machine, b.identifier, b.key))

    async def page(
        self,
        *,
        machine: str | None = None,
        ended: bool | None = None,
        after: Place | None = None,
        limit: int,
    ) -> Sequence[Booking]:
        """By start, machine and identifier, from behind a place on; letters by their code points."""

        def read(connection: sa.Connection) -> Sequence[Booking]:
            start = bookings.c.start
            names: list[sa.ColumnElement[str]] = [bookings.c.machine, bookings.c.identifier]
            if connection.dialect.name == "postgresql":  # SQLite orders so by itself
                names = [sa.collate(column, "C") for column in names]
            query = sa.select(bookings).where(*_wanted(machine, ended)).order_by(start, *names).limit(limit)
            if after is not None:
                instant = sa.bindparam(None, after[0], type_=start.type)
                later = sa.tuple_(*names) > sa.tuple_(*map(sa.literal, after[1:]))
                query = query.where((start > instant) | ((start == instant) & later))
            return [_booking(row) for row in connection.execute(query)]

        return await self._database.read(read)

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

    async def delete(self, machine: str, identifier: str, *, only_of: str | None = None) -> Booking | None:
        """Delete it where its life allows, and where ``only_of`` booked it; returns it as it was."""
        where = _is(machine, identifier) & _may(BookingCommand.DELETE)
        if only_of is not None:
            where &= bookings.c.booked_by == only_of
        delete = sa.delete(bookings).where(where).returning(bookings)
        row = await self._database.write(lambda c: c.execute(delete).one_or_none())
        return None if row is None else _booking(row)

    async def put_many(self, many: Sequence[Booking]) -> Set[Key]:
        """Add them, or replace those that may be, in one transaction; returns the keys of the others."""
        wanted = {(booking.of, booking.identifier): booking for booking in many}

        def put(connection: sa.Connection) -> tuple[Set[Key], Set[Key]]:
            if not wanted:
                return frozenset(), frozenset()
            names = _names_for(connection, wanted)
            rows = [_row(booking) | {"machine": names[key]} for key, booking in wanted.items()]
            rows.sort(key=lambda row: (str(row["machine"]), str(row["identifier"])))
            connection.execute(_insert_or_replace(connection), rows)
            # The statement before has locked them all, those that it left too.
            refused = wanted.keys() & _names(connection, wanted, _may_not(BookingCommand.BOOK)).keys()
            return refused, wanted.keys() - _names(connection, wanted).keys()

        refused: Set[Key] = frozenset()
        missing: Set[Key] = wanted.keys()
        # Where another took a name since it was looked for: with those that there are now all find a place.
        for _ in range(_ATTEMPTS):
            with contextlib.suppress(sa.exc.IntegrityError):
                refused, missing = await self._database.write(put)
            if not missing:
                break
        return refused | missing

    async def delete_waiting(self, keys: Sequence[Key]) -> Set[Key]:
        """Delete those that neither run nor have ended, in one transaction; returns which it deleted."""

        def delete(connection: sa.Connection) -> Set[Key]:
            waiting = _names(connection, keys, _IS[BookingState.WAITS])
            found = {(waiting[key], key[1]): key for key in waiting.keys() & set(keys)}
            deleted: set[Key] = set()
            for some in _pieces(sorted(found)):
                statement = (
                    sa.delete(bookings)
                    .where(_ROW.in_(some), _IS[BookingState.WAITS])
                    .returning(*_ROW_COLUMNS)
                )
                deleted |= {
                    found[machine, identifier] for machine, identifier in connection.execute(statement)
                }
            return deleted

        return await self._database.write(delete)

    async def move(self, key: str, to: str) -> None:
        """Give a machine's bookings to it at another host, but those whose identifier it has there too."""
        there = sa.select(bookings.c.identifier).where(bookings.c.machine_key == to)
        moved = sa.update(bookings).where(bookings.c.machine_key == key, bookings.c.identifier.not_in(there))
        await self._database.write(lambda c: c.execute(moved.values(machine_key=to)))


#: A machine, by its key or by its name where it has none, and an identifier.
Key = tuple[str, str]

_FIELDS: Final = tuple(field.name for field in dataclasses.fields(Booking))
_ROW_COLUMNS: Final = (bookings.c.machine, bookings.c.identifier)
_ROW: Final = sa.tuple_(*_ROW_COLUMNS)
#: How much is asked for in one statement.
_PIECE: Final = 400
#: How often many bookings are tried while others take their names.
_ATTEMPTS: Final = 10


def _row(booking: Booking) -> dict[str, object]:
    row = {name: getattr(booking, name) for name in _FIELDS}
    row["machine_key"] = row.pop("key")
    return row


def _names(
    connection: sa.Connection, keys: Collection[Key], *conditions: sa.ColumnElement[bool]
) -> dict[Key, str]:
    """The names in their rows of all bookings with these identifiers, by their keys."""
    found: dict[Key, str] = {}
    for some in _pieces(sorted({identifier for _, identifier in keys})):
        query = sa.select(bookings.c.machine, bookings.c.machine_key, bookings.c.identifier)
        rows = connection.execute(query.where(bookings.c.identifier.in_(some), *conditions))
        found |= {(key or machine, identifier): machine for machine, key, identifier in rows}
    return found


def _names_for(connection: sa.Connection, wanted: Mapping[Key, Booking]) -> Mapping[Key, str]:
    """The names that bookings have in their rows, as ``_name_of`` finds them one by one."""
    there = _names(connection, wanted)
    taken = {(name, identifier) for (_, identifier), name in there.items()}
    names: dict[Key, str] = {}
    for key, booking in wanted.items():
        if key in there:
            names[key] = there[key]
        else:
            names[key] = booking.of if (booking.machine, booking.identifier) in taken else booking.machine
            taken.add((names[key], booking.identifier))
    return names


def _insert_or_replace(connection: sa.Connection) -> sa.Executable:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    insert = dialect.insert(bookings)
    others = {column.name: insert.excluded[column.name] for column in bookings.c if not column.primary_key}
    # A row that another machine took since its name was looked for is not its own.
    is_own = bookings.c.machine_key.in_(["", insert.excluded.machine_key])
    statement: sa.Executable = insert.on_conflict_do_update(
        index_elements=list(_ROW_COLUMNS), set_=others, where=_may(BookingCommand.BOOK) & is_own
    )
    return statement


def _pieces(all_of_them: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(all_of_them), _PIECE):
        yield all_of_them[start : start + _PIECE]


def _wanted(machine: str | None, ended: bool | None) -> Sequence[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if machine is not None:
        conditions.append(_of(machine))
    if ended is not None:
        conditions.append(bookings.c.verdict.is_not(None) if ended else bookings.c.verdict.is_(None))
    return conditions


_NOT_STARTED: Final = bookings.c.verdict == Verdict.NOT_STARTED.value
_IS: Final[Mapping[BookingState, sa.ColumnElement[bool]]] = {
    BookingState.WAITS: bookings.c.verdict.is_(None) & bookings.c.task_id.is_(None),
    BookingState.RUNS: bookings.c.verdict.is_(None) & bookings.c.task_id.is_not(None),
    BookingState.NOT_STARTED: _NOT_STARTED,
    BookingState.ENDED: bookings.c.verdict.is_not(None) & ~_NOT_STARTED,
}


def _may(command: BookingCommand) -> sa.ColumnElement[bool]:
    """Whether the row's state allows the command."""
    return sa.or_(*(is_so for state, is_so in _IS.items() if state in states_before(command)))


def _may_not(command: BookingCommand) -> sa.ColumnElement[bool]:
    """Whether the row's state refuses the command; ``_may`` denied would not see columns that are null."""
    return sa.or_(*(is_so for state, is_so in _IS.items() if state not in states_before(command)))


def _of(machine: str | sa.BindParameter[str]) -> sa.ColumnElement[bool]:
    """Those of a machine, by its key; of one that is gone, by its name."""
    return (bookings.c.machine_key == machine) | (bookings.c.machine == machine)


def _name_of(connection: sa.Connection, booking: Booking) -> str:
    """The name that a booking has in its row: the one that it got, or its key where another has that name."""
    its_row = sa.select(bookings.c.machine).where(_is(booking.of, booking.identifier))
    if (name := connection.scalar(its_row)) is not None:
        return str(name)
    taken = sa.select(bookings.c.machine).where(_is(booking.machine, booking.identifier))
    return booking.machine if connection.scalar(taken) is None else booking.of


def _named_row(connection: sa.Connection, booking: Booking) -> dict[str, object]:
    return _row(booking) | {"machine": _name_of(connection, booking)}


def _is(
    machine: str | sa.BindParameter[str], identifier: str | sa.BindParameter[str]
) -> sa.ColumnElement[bool]:
    return _of(machine) & (bookings.c.identifier == identifier)


_GIVEN: Final = _is(sa.bindparam("of_machine"), sa.bindparam("of_identifier"))
_GET: Final = sa.select(bookings).where(_GIVEN)


@functools.cache
def _applying(command: BookingCommand, names: tuple[str, ...], *, is_of_one_booking: bool) -> sa.UpdateBase:
    """Change these columns of a booking where its life allows; made once, as a night does it all the time."""
    where = _GIVEN & _may(command)
    values = {name: sa.bindparam(f"new_{name}", type_=bookings.c[name].type) for name in names}
    if "task_id" in names:
        where &= bookings.c.task_id.is_(None) | (bookings.c.task_id == sa.bindparam("of_task"))
    if is_of_one_booking:
        where &= bookings.c.booked_at == sa.bindparam("of_booked_at")
    if command is BookingCommand.REPORT and "status" in values:  # the state that it has already is no news
        where &= bookings.c.status != values["status"]
    return sa.update(bookings).where(where).values({**values, "next_chance": None}).returning(bookings)


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
