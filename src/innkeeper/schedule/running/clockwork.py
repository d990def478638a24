"""Callbacks at the runs of many recurrences, in one process and in memory: the scheduler as a library."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterable
from typing import Final, Generic, TypeVar

import structlog

from innkeeper.schedule.calendar.recurrence import Recurrence
from innkeeper.schedule.running.timer import Timer
from innkeeper.tasks.garbage import collected_later
from innkeeper.tasks.outcome import traceback_of

_log = structlog.get_logger(__name__)

K = TypeVar("K", bound=Hashable)

#: The longest sleep: when somebody sets the wall clock, it is seen by then.
_LONGEST_SLEEP: Final = 30.0
#: For how many seconds a collection of garbage may be put off.
_LONGEST_PUT_OFF: Final = 0.1


class Clockwork(Generic[K]):
    """Recurrences by key, and one thread that calls ``on_due(key)`` at each of their runs.

    Nothing is kept on disk; ``Scheduler`` is for what must survive. What is due at one moment is called in
    the order it was set, before any next run is worked out, so that the last of many waits for no arithmetic.
    """

    def __init__(self, on_due: Callable[[K], None]) -> None:
        self._on_due = on_due
        self._recurrences: dict[K, Recurrence] = {}
        self._timer: Timer[K] = Timer()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False

    def __len__(self) -> int:
        return len(self._recurrences)

    def set(self, key: K, recurrence: Recurrence) -> None:
        """Call back for ``key`` at the runs of this recurrence alone."""
        with self._changed:
            self._set(key, recurrence, int(time.time()))
            self._changed.notify()

    def set_all(self, recurrences: Iterable[tuple[K, Recurrence]]) -> None:
        """As ``set``, for many at once."""
        now = int(time.time())
        with self._changed:
            for key, recurrence in recurrences:
                self._set(key, recurrence, now)
            self._changed.notify()

    def remove(self, key: K) -> None:
        """Stop calling back for ``key``. Does nothing where it is not there."""
        with self._changed:
            self._recurrences.pop(key, None)
            self._timer.remove(key)

    def start(self) -> None:
        """Start calling back, from a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="innkeeper-clockwork", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop calling back; a call under way comes to its end."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _set(self, key: K, recurrence: Recurrence, after: int) -> None:
        self._recurrences[key] = recurrence
        due = recurrence.next_instant(after)
        if due is None:
            self._timer.remove(key)
        else:
            self._timer.set(key, due)

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._stopping:
                    return
                due = self._timer.next_due()
                pause = _LONGEST_SLEEP if due is None else due - time.time()
                if pause > 0:
                    self._changed.wait(min(pause, _LONGEST_SLEEP))
                    continue
                found = self._timer.pop_due(time.time())
            self._call(found)
            self._set_next(found)

    def _call(self, found: list[tuple[float, int, K]]) -> None:
        """Call back for all; what is due at one moment is not held up by a collection of garbage.

        A full one takes a tenth of a second in a large process. It is put off, and not for long.
        """
        begun = time.monotonic()
        with collected_later() as collect:
            for _, _, key in found:
                if time.monotonic() - begun > _LONGEST_PUT_OFF:
                    collect()
                self._call_one(key)

    def _call_one(self, key: K) -> None:
        try:
            self._on_due(key)
        except Exception as exc:  # the thread outlives one call, and the other recurrences are called
            _log.error("clockwork.call_failed", key=str(key), traceback=traceback_of(exc))

    def _set_next(self, found: list[tuple[float, int, K]]) -> None:
        with self._changed:
            for at, _, key in found:
                recurrence = self._recurrences.get(key)
                # It may have been removed, or set anew, by what was called.
                if recurrence is not None and key not in self._timer:
                    self._set(key, recurrence, int(at))
