"""Supervise the long-lived loops of the service: log what ends one, restart it, and report its health."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog

from innkeeper.tasks.clock import SystemClock
from innkeeper.tasks.outcome import traceback_of
from innkeeper.tasks.ports import Clock

#: Seconds before the first restart of a loop; doubled at each further one …
FIRST_PAUSE_SECONDS: Final = 1.0
#: … up to this.
LONGEST_PAUSE_SECONDS: Final = 60.0
#: A loop that has run for so long counts as healthy again, and its next restart comes soon.
STEADY_SECONDS: Final = 120.0

_log = structlog.get_logger(__name__)

#: The work of a loop, begun anew at every call. A loop that returns is done, and is not restarted.
Work = Callable[[], Awaitable[None]]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LoopHealth:
    """How one loop does."""

    name: str
    #: Whether it runs, or has done its work.
    ok: bool
    #: How often it has failed since it last ran well.
    failures: int
    #: What it last failed of; empty where ``failures`` is 0.
    error: str


class Loops:
    """The supervised loops of one service.

    An exception that ends a loop is logged with its traceback; the loop is restarted after a pause that
    grows with each failure. A cancellation of the loop's task ends it for good.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._loops: dict[asyncio.Task[None], _Loop] = {}

    def start(self, name: str, work: Work) -> asyncio.Task[None]:
        """Run a loop until the returned task is cancelled, or the loop returns."""
        loop = _Loop(name, work, self._clock)
        task = asyncio.create_task(loop.run(), name=name)
        self._loops[task] = loop
        task.add_done_callback(self._loops.pop)
        return task

    @property
    def health(self) -> Sequence[LoopHealth]:
        """Each loop that has not been ended, by name."""
        return sorted((loop.health for loop in self._loops.values()), key=lambda each: each.name)

    @property
    def failing(self) -> Sequence[str]:
        """The names of the loops that do not do well."""
        return [each.name for each in self.health if not each.ok]


class _Loop:
    """One supervised loop."""

    def __init__(self, name: str, work: Work, clock: Clock) -> None:
        self._name = name
        self._work = work
        self._clock = clock
        self._failures = 0
        self._error = ""
        #: When it was last begun; nothing while it waits for its restart.
        self._began: float | None = None

    @property
    def health(self) -> LoopHealth:
        failures = 0 if self._is_steady else self._failures
        return LoopHealth(
            name=self._name, ok=not failures, failures=failures, error=self._error if failures else ""
        )

    async def run(self) -> None:
        while not await self._ends_well():
            pause = FIRST_PAUSE_SECONDS * 2 ** min(self._failures - 1, 16)
            await self._clock.sleep(min(pause, LONGEST_PAUSE_SECONDS))

    async def _ends_well(self) -> bool:
        """Run it once; whether it has come to its own end."""
        self._began = self._clock.monotonic()
        try:
            await self._work()
        except asyncio.CancelledError as exc:
            if _is_being_cancelled():
                raise
            self._fail(exc)  # something inside it was cancelled, and nobody meant the loop
        except Exception as exc:  # the top of a loop: whatever ends it is logged, and it is restarted
            self._fail(exc)
        else:
            self._failures = 0
            return True
        return False

    def _fail(self, error: BaseException) -> None:
        self._failures = 1 if self._is_steady else self._failures + 1
        self._error = str(error) or type(error).__name__
        self._began = None
        with contextlib.suppress(OSError, ValueError):  # a log that is closed or full ends no loop
            _log.error("loop.failed", loop=self._name, failures=self._failures, traceback=traceback_of(error))

    @property
    def _is_steady(self) -> bool:
        return self._began is not None and self._clock.monotonic() - self._began >= STEADY_SECONDS


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
