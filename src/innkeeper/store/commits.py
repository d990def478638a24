"""Transactions that are made once, also where PostgreSQL was lost before it answered a commit."""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
from collections.abc import Callable
from typing import Final, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from innkeeper.store.tables import commit_marks

T = TypeVar("T")

# As text, and not put together anew each time: it goes with every write.
_MARK: Final = (
    "UPDATE commit_marks SET number = %(number)s, at = clock_timestamp()"
    " WHERE writer = %(writer)s AND slot = %(slot)s"
)
# It waits for the transaction whose commit got no answer: where that still holds the row, it may yet be made.
_LOOK: Final = (
    sa.select(commit_marks.c.number)
    .where(commit_marks.c.writer == sa.bindparam("of_writer"), commit_marks.c.slot == sa.bindparam("of_slot"))
    .with_for_update()
)
#: Of marks; unlike the system's, made without a call of it.
_NUMBERS: Final = random.Random()  # noqa: S311 - nobody is to guess one, and nobody could gain by it
_MAKE_SLOT: Final = postgresql.insert(commit_marks).on_conflict_do_nothing()


class Commits:
    """The marks that this process leaves with its transactions, to know later whether they were made.

    A transaction writes its number into a row that no other live transaction of ours uses. Where the
    answer to its commit is lost, that row tells: it has the number, or the transaction was not made.
    """

    def __init__(
        self, transaction: Callable[[], contextlib.AbstractContextManager[sa.Connection]], writer: str
    ) -> None:
        """``transaction`` opens a transaction, in the thread that asks; ``writer`` names this process.

        The next process under the name uses the same rows, so that they do not become more.
        """
        self._transaction = transaction
        self._writer = writer
        self._new_slots = itertools.count(1)
        self._free: list[int] = []
        self._guard = threading.Lock()

    def once(self, change: Callable[[sa.Connection], T]) -> Once[T]:
        """A change of the database, to be attempted until it is made."""
        return Once(self, change, _NUMBERS.getrandbits(63))

    def begin(self) -> contextlib.AbstractContextManager[sa.Connection]:
        """Open a transaction."""
        return self._transaction()

    def take_slot(self) -> int:
        """Take a row for marks that nobody uses; there is one for each transaction at work."""
        with self._guard:
            if self._free:
                return self._free.pop()
            slot = next(self._new_slots)
        with self._transaction() as connection:
            row = {"writer": self._writer, "slot": slot, "number": 0, "at": sa.func.clock_timestamp()}
            connection.execute(_MAKE_SLOT.values(row))
        return slot

    def give_back(self, slot: int) -> None:
        """Give back a row whose last transaction is known to be made, or not to be."""
        with self._guard:
            self._free.append(slot)

    def mark(self, connection: sa.Connection, slot: int, number: int) -> None:
        """Write the transaction's mark."""
        row = {"writer": self._writer, "slot": slot, "number": number}
        connection.exec_driver_sql(_MARK, row)

    def is_marked(self, connection: sa.Connection, slot: int, number: int) -> bool:
        """Whether the transaction of this number was made."""
        return connection.scalar(_LOOK, {"of_writer": self._writer, "of_slot": slot}) == number


class Once(Generic[T]):
    """One change, made once however often it is attempted. Attempts follow one another, in any thread."""

    def __init__(self, commits: Commits, change: Callable[[sa.Connection], T], number: int) -> None:
        self._commits = commits
        self._change = change
        self._number = number
        self._slot: int | None = None
        #: What an attempt came to whose commit got no answer.
        self._in_doubt: list[T] = []
        self._is_made = False

    def attempt(self) -> T:
        """Make the change, or find that an earlier attempt made it."""
        slot = self._commits.take_slot() if self._slot is None else self._slot
        self._slot = slot
        try:
            return self._attempt(slot)
        finally:
            if not self._in_doubt or self._is_made:
                self._commits.give_back(slot)
                self._slot = None

    def _attempt(self, slot: int) -> T:
        with self._commits.begin() as connection:
            if self._in_doubt and self._commits.is_marked(connection, slot, self._number):
                done = self._in_doubt[-1]
            else:
                self._in_doubt.clear()
                done = self._change(connection)
                self._commits.mark(connection, slot, self._number)
                # From here on nothing can fail but the commit.
                self._in_doubt.append(done)
        self._is_made = True
        return done
