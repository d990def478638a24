"""Accounts of what machines use (``IVMAccountant``)."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import datetime as dt
import enum
import math
from collections.abc import Iterable, Mapping, Sequence

import structlog

from innkeeper.errors import InnkeeperError
from innkeeper.machines.asking import GATHERED_SECONDS, ask
from innkeeper.machines.machine import Machine
from innkeeper.machines.service import Machines
from innkeeper.machines.usage import Usage
from innkeeper.tasks.outcome import traceback_of
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.waiting import Signal

_log = structlog.get_logger(__name__)

#: The hosts are asked so often while somebody looks, and so often while nobody does, in seconds.
WATCHED_SECONDS = 1.0
UNWATCHED_SECONDS = 10.0
#: Whoever has asked is taken to look on for so long.
_LOOKING_SECONDS = 60.0
#: Whoever looks waits so long for the hosts; a list of accounts waits for one of machines too.
_PATIENCE_SECONDS = GATHERED_SECONDS / 2
#: Asking may take at most this part of the time: a host with many machines is asked less often.
_MOST_OF_THE_TIME = 0.05

#: The documented history: one value a second, for a minute.
MINUTE = 60
_DAY_STEP_SECONDS = 300
_DAY = 24 * 3600 // _DAY_STEP_SECONDS


class Span(enum.StrEnum):
    """How far a history goes back."""

    #: 60 points, one a second.
    MINUTE = "minute"
    #: 288 points, one for every five minutes.
    DAY = "day"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Rates:
    """Use of a machine in one stretch of time, a second."""

    #: Percent of its processors, 0 to 100.
    cpu_percent: float = 0.0
    disk_read: float = 0.0
    disk_written: float = 0.0
    network_received: float = 0.0
    network_sent: float = 0.0
    memory_bytes: int = 0


NONE = Rates()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """Present and total use of a machine since it was turned on; all zero for one that is off."""

    machine: str
    is_on: bool
    rates: Rates
    disk_read_bytes: int = 0
    disk_written_bytes: int = 0
    #: Nothing where its host does not see its network.
    network_received_bytes: int | None = 0
    network_sent_bytes: int | None = 0
    #: Nothing where its host cannot say.
    uptime_seconds: int | None = 0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """Points of a history, oldest first; the last one ends at ``until``."""

    until: dt.datetime
    step_seconds: int
    points: tuple[Rates, ...]


class Accountant:
    """The accounts of all machines, from one bulk question to each host a tick."""

    def __init__(self, machines: Machines, *, clock: Clock) -> None:
        self._machines = machines
        self._clock = clock
        #: By the host and the machine's name there, as usage is told.
        self._meters: dict[tuple[str, str], Meter] = {}
        self._looked_at = -math.inf
        self._ticked_at = -math.inf
        self._ticking = asyncio.Lock()
        self._asked = Signal()

    async def run(self) -> None:
        """Ask and ask again, until cancelled."""
        while True:
            began = self._clock.monotonic()
            await self._fresh(WATCHED_SECONDS / 2)
            now = self._clock.monotonic()
            watched = now - self._looked_at < _LOOKING_SECONDS
            pause = max(WATCHED_SECONDS if watched else UNWATCHED_SECONDS, (now - began) / _MOST_OF_THE_TIME)
            await self._wait(pause, watched=watched)

    async def tick(self) -> None:
        """Ask every host once. One that does not answer keeps its machines' accounts as they are."""
        asked = [ask(host, lambda host: host.usage.read()) for host in self._machines.hosts.values()]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        self._ticked_at = self._clock.monotonic()
        for host, answer in zip(self._machines.hosts, answers, strict=True):
            if isinstance(answer, InnkeeperError):
                _log.debug("host.not_accounted", host=host, error=str(answer))
            elif isinstance(answer, Exception):  # what fails at one host leaves the others' accounts
                _log.error("host.accounting_broke", host=host, traceback=traceback_of(answer))
            elif isinstance(answer, BaseException):
                raise answer
            else:
                self._take(host, {usage.machine: usage for usage in answer})

    async def account(self, name: str) -> Account:
        """One machine's account (``CPUUtilization``, ``DiskBytesRead`` … ``UpTime``)."""
        await self.look()
        return self._account(await self._machines.get(name))

    def accounts(self, machines: Iterable[Machine]) -> Sequence[Account]:
        """The accounts of many as they were last read, without a question to any host; see ``look``."""
        self._mark_look()
        return [self._account(machine) for machine in machines]

    async def history(self, name: str, span: Span) -> History:
        """One machine's history (``CPUUtilizationHistory`` and the like)."""
        await self.look()
        machine = await self._machines.get(name)
        meter = self._meters.get((machine.host, machine.name))
        points: Iterable[Rates] = () if meter is None else meter.history(span)
        length, step = (MINUTE, 1) if span is Span.MINUTE else (_DAY, _DAY_STEP_SECONDS)
        known = tuple(points)
        return History(
            until=self._clock.now(), step_seconds=step, points=(NONE,) * (length - len(known)) + known
        )

    async def look(self) -> None:
        """Somebody looks: what they see is no older than a moment, but while a host hangs."""
        self._mark_look()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._fresh(2 * WATCHED_SECONDS)

    # Machinery

    def _mark_look(self) -> None:
        self._looked_at = self._clock.monotonic()
        self._asked.set()

    async def _fresh(self, seconds: float) -> None:
        """Ask the hosts where the last time is longer ago than this; once for all who wait."""
        async with self._ticking:
            if self._clock.monotonic() - self._ticked_at > seconds:
                await self.tick()

    async def _wait(self, seconds: float, *, watched: bool) -> None:
        """Wait for the next tick; the first who looks ends a long wait."""
        self._asked.clear()
        if watched:
            await self._clock.sleep(seconds)
        else:
            await self._asked.wait_within(self._clock, seconds)

    def _take(self, host: str, seen: Mapping[str, Usage]) -> None:
        now = self._clock.monotonic()
        for name, usage in seen.items():
            meter = self._meters.get((host, name))
            if meter is None:
                meter = self._meters[host, name] = Meter(now)
            meter.take(now, usage)
        silent = [place for place in self._meters if place[0] == host and place[1] not in seen]
        for place in silent:
            self._meters[place].take(now, None)
            if self._meters[place].is_forgettable(now):
                del self._meters[place]

    def _account(self, machine: Machine) -> Account:
        meter = self._meters.get((machine.host, machine.name))
        usage = None if meter is None else meter.usage
        if meter is None or usage is None:
            return Account(machine=machine.title, is_on=False, rates=NONE)
        return Account(
            machine=machine.title,
            is_on=True,
            rates=meter.rates,
            disk_read_bytes=usage.disk_read_bytes,
            disk_written_bytes=usage.disk_written_bytes,
            network_received_bytes=usage.network_received_bytes,
            network_sent_bytes=usage.network_sent_bytes,
            uptime_seconds=self._uptime(usage),
        )

    def _uptime(self, usage: Usage) -> int | None:
        if usage.started_at is None:
            return None
        return max(0, int((self._clock.now() - usage.started_at).total_seconds()))


class Meter:
    """Follows one machine: what it used last, and a bounded history."""

    def __init__(self, now: float) -> None:
        self._at = now
        self._on_at = now
        self._second = int(now)
        #: What was read last; nothing while it is off.
        self.usage: Usage | None = None
        self.rates = NONE
        self._minute: collections.deque[Rates] = collections.deque(maxlen=MINUTE)
        self._day: collections.deque[Rates] = collections.deque(maxlen=_DAY)
        #: What belongs to the next point of the day, each with the seconds that it lasted.
        self._pending: list[tuple[Rates, int]] = []
        self._pending_seconds = 0

    def take(self, now: float, usage: Usage | None) -> None:
        """Add a reading; ``None`` where the machine is off."""
        elapsed = now - self._at
        self.rates = NONE if usage is None else _rates(self.usage, usage, elapsed)
        self._at, self.usage = now, usage
        if usage is not None:
            self._on_at = now
        self._keep(int(now))

    def is_forgettable(self, now: float) -> bool:
        """Whether the machine has been off for as long as the history goes back."""
        return now - self._on_at > _DAY * _DAY_STEP_SECONDS

    def history(self, span: Span) -> Iterable[Rates]:
        """The points that there are, oldest first."""
        return self._minute if span is Span.MINUTE else self._day

    def _keep(self, second: int) -> None:
        """One point for every second since the last reading: in between, the mean is all that is known."""
        missed = second - self._second
        self._second = second
        self._minute.extend([self.rates] * min(missed, MINUTE))
        left = min(missed, _DAY * _DAY_STEP_SECONDS)
        while left > 0:
            seconds = min(left, _DAY_STEP_SECONDS - self._pending_seconds)
            self._pending.append((self.rates, seconds))
            self._pending_seconds += seconds
            left -= seconds
            if self._pending_seconds == _DAY_STEP_SECONDS:
                self._day.append(_mean(self._pending))
                self._pending.clear()
                self._pending_seconds = 0


def _rates(before: Usage | None, now: Usage, elapsed: float) -> Rates:
    if before is None or elapsed <= 0 or now.cpu_seconds < before.cpu_seconds:
        return Rates(memory_bytes=now.memory_bytes)  # it has just been turned on: nothing to compare with
    used = (now.cpu_seconds - before.cpu_seconds) / elapsed / max(1, now.vcpus)
    return Rates(
        cpu_percent=min(100.0, 100 * used),
        disk_read=_rate(before.disk_read_bytes, now.disk_read_bytes, elapsed),
        disk_written=_rate(before.disk_written_bytes, now.disk_written_bytes, elapsed),
        network_received=_rate(before.network_received_bytes, now.network_received_bytes, elapsed),
        network_sent=_rate(before.network_sent_bytes, now.network_sent_bytes, elapsed),
        memory_bytes=now.memory_bytes,
    )


def _rate(before: int | None, now: int | None, elapsed: float) -> float:
    return 0.0 if before is None or now is None else max(0.0, (now - before) / elapsed)


def _mean(parts: Sequence[tuple[Rates, int]]) -> Rates:
    """The mean of rates that lasted for so many seconds each."""
    total = sum(seconds for _, seconds in parts)
    return Rates(
        cpu_percent=sum(rates.cpu_percent * seconds for rates, seconds in parts) / total,
        disk_read=sum(rates.disk_read * seconds for rates, seconds in parts) / total,
        disk_written=sum(rates.disk_written * seconds for rates, seconds in parts) / total,
        network_received=sum(rates.network_received * seconds for rates, seconds in parts) / total,
        network_sent=sum(rates.network_sent * seconds for rates, seconds in parts) / total,
        memory_bytes=sum(rates.memory_bytes * seconds for rates, seconds in parts) // total,
    )
