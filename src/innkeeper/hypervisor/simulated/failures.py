"""Failures of simulated hosts: by hand, by a file, or from a seed."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import functools
import random
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from innkeeper.errors import ErrorCode, HypervisorError
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.supervision import Loops
from innkeeper.wire.events import Event, EventKind, Publish

_log = structlog.get_logger()

#: How long a question to a hung host waits before it is given up, in simulated seconds.
ANSWER_SECONDS = 15.0
#: How much longer everything takes at a slow host, in simulated seconds.
SLOW_SECONDS = 2.0
#: A flapping host is there for so long, then away for so long, in simulated seconds.
THERE_SECONDS, GONE_SECONDS = 40.0, 20.0
#: How often the file is looked at, in real seconds.
_LOOK_SECONDS = 0.25
_HUNG_LOOK_SECONDS = 1.0
_DAY_SECONDS = 86_400.0


class Failure(enum.StrEnum):
    """Ways in which a host can fail."""

    #: Nobody answers at its address.
    AWAY = "away"
    #: It takes calls, and answers none.
    HUNG = "hung"
    #: It takes its time.
    SLOW = "slow"
    #: Its disk has no room left.
    FULL = "full"
    #: It is away again and again.
    FLAPPING = "flapping"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """Failures from a seed: the same ones for every service that asks."""

    seed: int
    #: How many failures a host has in a simulated day, on average.
    a_day: float

    def at(self, host: str, now: float) -> Failure | None:
        """The failure of a host at a moment."""
        day = int(now // _DAY_SECONDS)
        for began, ends, failure in (*self._of(host, day - 1), *self._of(host, day)):
            if began <= now < ends:
                return failure
        return None

    def _of(self, host: str, day: int) -> tuple[tuple[float, float, Failure], ...]:
        return _failures_of(self.seed, self.a_day, host, day)


@functools.lru_cache(maxsize=16_384)
def _failures_of(seed: int, a_day: float, host: str, day: int) -> tuple[tuple[float, float, Failure], ...]:
    """The failures that begin on one day: when, until when, and which; none lasts for more than an hour."""
    chance = random.Random(f"{seed}/{host}/{day}")  # noqa: S311 - the same failures every time is the point
    count = int(a_day) + (chance.random() < a_day % 1)
    starts = [(day + chance.random()) * _DAY_SECONDS for _ in range(count)]
    kinds = list(Failure)
    return tuple((start, start + chance.uniform(60, 3600), chance.choice(kinds)) for start in starts)


class Failures:
    """What is wrong with each of some simulated hosts now.

    The file says it for hosts that it names, a line each: ``cellar hung``; a word of ``none`` ends a
    failure. The schedule says it for all others.
    """

    def __init__(self, *, clock: Clock, file: Path | None = None, schedule: Schedule | None = None) -> None:
        self._clock = clock
        self._file = file
        self._schedule = schedule
        self._by_hand: Mapping[str, Failure | None] = {}
        self._stamp: tuple[int, int, int] | None = None
        self._on_change: dict[str, Callable[[], None]] = {}
        self._looking: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Read the file, and look at it from now on."""
        if self._file is None or self._looking is not None:
            return
        await self._look()
        self._looking = Loops().start("failures of hosts", self._watch)

    async def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})
            self._looking = None

    def subscribe(self, host: str, on_change: Callable[[], None]) -> None:
        """Call this whenever something may have changed for the host."""
        self._on_change[host] = on_change

    def put(self, host: str, failure: Failure | None) -> None:
        """Make a host fail from now on, or no more."""
        self._by_hand = {**self._by_hand, host: failure}
        self._tell()

    def of(self, host: str) -> Failure | None:
        """What is wrong with a host now; a flapping one is away, or nothing is."""
        if self._schedule is None and not self._by_hand:
            return None
        now = self._clock.now().timestamp()
        if host in self._by_hand:
            failure = self._by_hand[host]
        else:
            failure = self._schedule.at(host, now) if self._schedule is not None else None
        if failure is Failure.FLAPPING:
            return Failure.AWAY if now % (THERE_SECONDS + GONE_SECONDS) >= THERE_SECONDS else None
        return failure

    def _tell(self) -> None:
        for on_change in self._on_change.values():
            on_change()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            await self._look()
            self._tell()

    async def _look(self) -> None:
        assert self._file is not None
        stamp, text = await asyncio.to_thread(_read_if_other, self._file, self._stamp)
        if stamp != self._stamp:
            self._stamp = stamp
            self._by_hand = parsed(text)


def parsed(text: str) -> Mapping[str, Failure | None]:
    """The failures by host that a file names; a line that means nothing is logged and left out."""
    failures: dict[str, Failure | None] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        host, *words = line.split(maxsplit=1)
        word = words[0] if words else ""
        try:
            failures[host] = None if word == "none" else Failure(word)
        except ValueError:
            known = ", ".join(["none", *Failure])
            _log.warning("failure_unknown", line=line, advice=f"Write HOST and one of {known}.")
    return failures


def _read_if_other(file: Path, known: tuple[int, int, int] | None) -> tuple[tuple[int, int, int] | None, str]:
    try:
        found = file.stat()
        stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
        return stamp, "" if stamp == known else file.read_text()
    except OSError:
        return None, ""


class Condition:
    """The condition of one simulated host, by which every call to it goes."""

    def __init__(self, host: str, *, failures: Failures, clock: Clock, publish: Publish) -> None:
        self._host = host
        self._failures = failures
        self._clock = clock
        self._publish = publish
        self._was_away = False
        #: Whose the host is, where another server looks after it; empty where this one does.
        self.elsewhere = ""
        self._on_back: Callable[[], None] | None = None
        failures.subscribe(host, self._look)

    @property
    def is_away(self) -> bool:
        """Whether the host cannot be reached now."""
        return self._failures.of(self._host) is Failure.AWAY

    @property
    def is_full(self) -> bool:
        """Whether the host's disk has no room left."""
        return self._failures.of(self._host) is Failure.FULL

    def on_back(self, call: Callable[[], None]) -> None:
        """Call this whenever the host can be reached again."""
        self._on_back = call

    async def reach(self) -> None:
        """Pass a call to the host. Raises ``HypervisorError`` (ERROR_ONLY_IF_CONNECTED) where it is away."""
        failure = self._failures.of(self._host)
        if failure is Failure.SLOW:
            await self._clock.sleep(SLOW_SECONDS)
        elif failure is Failure.HUNG:
            await self._wait_for_answer()
        if self.is_away:
            raise _unreachable(f"The host {self._host} is not connected (nobody answers there).")
        if self.elsewhere:
            raise _unreachable(f"The host {self._host} is not connected ({self.elsewhere}).")

    async def _wait_for_answer(self) -> None:
        give_up = self._clock.monotonic() + ANSWER_SECONDS
        while self._failures.of(self._host) is Failure.HUNG:
            if self._clock.monotonic() >= give_up:
                raise _unreachable(f"The host {self._host} does not answer.")
            await self._clock.sleep(_HUNG_LOOK_SECONDS)

    def _look(self) -> None:
        """Publish that the host is lost, or back."""
        is_away = self.is_away
        if is_away is not self._was_away:
            self._was_away = is_away
            self._say(EventKind.HOST_LOST if is_away else EventKind.HOST_CONNECTED)
            if not is_away and self._on_back is not None:
                self._on_back()

    def _say(self, kind: EventKind) -> None:
        at = self._clock.now()
        self._publish(Event(kind=kind, subject=self._host, at=at, data={"host": self._host}))


def _unreachable(sentence: str) -> HypervisorError:
    return HypervisorError(
        sentence,
        code=ErrorCode.ERROR_ONLY_IF_CONNECTED,
        advice="Innkeeper goes on by itself as soon as the host answers.",
    )
