"""Group commit: the changes of many callers in one transaction, with one wait for the disk."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import sqlalchemy as sa

from innkeeper.errors import StoreAway
from innkeeper.store.rows import Row, RowStatement
from innkeeper.store.waiting import Waiting, pauses

#: No caller waits for more than this many others.
_MOST_TOGETHER: Final = 500

#: A statement that was made once, and the values for it, under the same names each time; insertions return
#: a number.
RowChange = tuple[sa.UpdateBase, Row]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Change:
    """One caller's change, on its way to the writing thread."""

    work: Callable[[sa.Connection], object] | None
    rows: Sequence[RowChange]
    lazily: bool
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[object]


class _GivenUp(Exception):  # no error: the group is made again without them
    """Undoes a transaction in which somebody's change is that gave up meanwhile."""


#: What a change came to: its value, or the error it raised.
_Outcome = tuple[object, BaseException | None]


class GroupedWrites:
    """The writes of a file that admits one writer: what comes while a commit is under way is committed next.

    Each change is made whole or not at all, and after all that had returned before it was asked for. Where
    one of a group fails, the group is undone and each is made in a transaction of its own: a change may be
    called twice, and works on nothing but the connection. Rows for one statement go to the database in one
    call, however many callers they come from.
    """

    def __init__(
        self,
        *,
        thread: ThreadPoolExecutor,
        durable: Callable[[], contextlib.AbstractContextManager[sa.Connection]],
        lazy: Callable[[], contextlib.AbstractContextManager[sa.Connection]],
        waiting: Waiting,
    ) -> None:
        """``durable`` and ``lazy`` open a transaction; ``thread`` has a single worker."""
        self._thread = thread
        self._away = waiting
        self._durable = durable
        self._lazy = lazy
        self._guard = threading.Lock()
        self._statements: dict[sa.UpdateBase, RowStatement] = {}
        self._waiting: list[_Change] = []
        self._writing = False
        #: Whether somebody may have given up since the queue was empty last, and was told of no change.
        self._is_late = False

    def submit(
        self,
        work: Callable[[sa.Connection], object] | None = None,
        rows: Sequence[RowChange] = (),
        *,
        lazily: bool,
    ) -> asyncio.Future[object]:
        """Run ``work``, or write ``rows``, in a transaction: durable then, unless ``lazily``.

        Of rows, the future holds the number that the last statement returned, where it returns one.
        """
        loop = asyncio.get_running_loop()
        change = _Change(work=work, rows=rows, lazily=lazily, loop=loop, done=loop.create_future())
        with self._guard:
            self._waiting.append(change)
            idle, self._writing = not self._writing, True
        if idle:
            self._thread.submit(self._write_all)
        return change.done

    def _write_all(self) -> None:
        """Write until nobody waits; runs in the thread."""
        while group := self._next_group():
            outcomes = self._outcomes(group)
            for loop, settled in _by_loop(group, outcomes):
                with contextlib.suppress(RuntimeError):  # the loop has gone, and nobody waits
                    loop.call_soon_threadsafe(_settle, settled)

    def _next_group(self) -> Sequence[_Change]:
        with self._guard:
            if self._is_late:
                self._waiting = [change for change in self._waiting if not change.done.cancelled()]
            group = self._waiting[:_MOST_TOGETHER]
            del self._waiting[: len(group)]
            self._writing = bool(group)
            self._is_late = self._is_late and self._writing
        return group

    def _outcomes(self, group: Sequence[_Change]) -> Sequence[_Outcome]:
        """Write a group; while the disk is full, or somebody holds the file, again and again."""
        tries = pauses()
        while True:
            try:
                values = self._written(group)
            except BaseException as exc:  # it is for the caller whose change raised it
                failure = self._failure(exc)
            else:
                if values:  # of a group that has given up, nothing was written
                    self._away.is_back()
                return [(values.get(change), None) for change in group]
            if isinstance(failure, StoreAway) or (failure is not None and len(group) == 1):
                return [(None, failure)] * len(group)
            if failure is not None:
                return [self._outcomes([change])[0] for change in group]
            self._is_late = True
            self._away.pause(next(tries))

    def _failure(self, error: BaseException) -> BaseException | None:
        """What its callers are told; nothing for what waiting cures."""
        if not isinstance(error, sa.exc.DBAPIError | sa.exc.TimeoutError):
            return error
        try:
            self._away.judge(error)
        except Exception as final:
            return final
        return None

    def _written(self, group: Sequence[_Change]) -> Mapping[_Change, object]:
        begin = self._lazy if all(change.lazily for change in group) else self._durable
        while True:
            wanted = [change for change in group if not self._is_given_up(change)]
            with contextlib.suppress(_GivenUp), begin() as connection:
                values = self._made(connection, wanted)
                # The first statement waits for the file: also who gave up during that is told the truth.
                if any(map(self._is_given_up, wanted)):
                    raise _GivenUp
                return dict(zip(wanted, values, strict=True))

    def _is_given_up(self, change: _Change) -> bool:
        """Whether the caller was told that it may not be done: it is not, then."""
        return self._is_late and change.done.cancelled()

    def _made(self, connection: sa.Connection, group: Sequence[_Change]) -> Sequence[object]:
        """Make the changes of a group: nobody has waited for another one's, so that any order is right."""
        values: list[object] = [None] * len(group)
        rows: dict[sa.UpdateBase, list[tuple[int, Row]]] = {}
        for place, change in enumerate(group):
            if change.work is not None:
                values[place] = change.work(connection)
            for statement, row in change.rows:
                rows.setdefault(statement, []).append((place, row))
        for statement, placed in rows.items():
            written = self._statement(statement, placed[0][1], connection.dialect)
            numbers = written.write(connection, [row for _, row in placed])
            for (place, _), number in zip(placed, numbers, strict=True):
                values[place] = number
        return values

    def _statement(self, statement: sa.UpdateBase, row: Row, dialect: sa.Dialect) -> RowStatement:
        known = self._statements.get(statement)
        if known is None:
            known = self._statements[statement] = RowStatement(statement, dialect, tuple(row))
        return known


def _by_loop(
    group: Sequence[_Change], outcomes: Sequence[_Outcome]
) -> Iterator[tuple[asyncio.AbstractEventLoop, list[tuple[_Change, _Outcome]]]]:
    """Outcomes by who waits for them: a wake-up for each loop, of which there is one but in tests."""
    found: dict[asyncio.AbstractEventLoop, list[tuple[_Change, _Outcome]]] = {}
    for change, outcome in zip(group, outcomes, strict=True):
        found.setdefault(change.loop, []).append((change, outcome))
    yield from found.items()


def _settle(settled: Sequence[tuple[_Change, _Outcome]]) -> None:
    for change, (value, error) in settled:
        if change.done.done():
            continue  # whoever waited was cancelled; the change stands
        if error is None:
            change.done.set_result(value)
        else:
            change.done.set_exception(error)
