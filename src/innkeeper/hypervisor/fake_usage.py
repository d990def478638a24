"""Make up what simulated machines use: each its own rhythm, and counters that never go back."""

from __future__ import annotations

import datetime as dt
import math
import random

from innkeeper.hypervisor.fake_machines import SimulatedMachine
from innkeeper.machines.usage import Usage

_MIB = 1 << 20


def usage(machine: SimulatedMachine, now: float) -> Usage | None:
    """What it has used since it was turned on; nothing where it is off."""
    if machine.memory is None:
        return None
    until = now if machine.paused_at is None else machine.paused_at
    began = machine.memory.booted_at or until
    rhythm = _Rhythm(machine.uuid, began, until)
    return Usage(
        machine=machine.name,
        vcpus=machine.vcpus,
        cpu_seconds=rhythm.used("cpu", 0.02, 0.4) * machine.vcpus,
        memory_bytes=int(machine.memory_mib * _MIB * rhythm.level("memory", 0.4, 0.9)),
        disk_read_bytes=int(rhythm.used("read", 0.01, 2.0) * _MIB),
        disk_written_bytes=int(rhythm.used("written", 0.01, 1.0) * _MIB),
        network_received_bytes=int(rhythm.used("received", 0.001, 0.5) * _MIB),
        network_sent_bytes=int(rhythm.used("sent", 0.001, 0.8) * _MIB),
        started_at=dt.datetime.fromtimestamp(began, dt.UTC),
    )


class _Rhythm:
    """The work of one machine between two moments: two waves over a mean that is its own."""

    def __init__(self, seed: str, began: float, until: float) -> None:
        self._seed = seed
        self._began = began
        self._until = until

    def used(self, what: str, least: float, most: float) -> float:
        """All that was used: the waves' integral, whose slope is never negative."""
        return self._sum(what, least, most, self._until) - self._sum(what, least, most, self._began)

    def level(self, what: str, least: float, most: float) -> float:
        """How much is held: rising after the boot, up to its own level."""
        chance = self._chance(what)
        warm = 1 - math.exp(-max(0.0, self._until - self._began) / 120)
        return chance.uniform(least, most) * (0.3 + 0.7 * warm)

    def _sum(self, what: str, least: float, most: float, at: float) -> float:
        chance = self._chance(what)
        mean = least + (most - least) * chance.random() ** 2
        slow, quick = math.tau / chance.uniform(120, 900), math.tau / chance.uniform(9, 40)
        shift = chance.uniform(0, math.tau)
        waves = 0.55 * math.cos(slow * at + shift) / slow + 0.35 * math.cos(quick * at) / quick
        return mean * (at - waves)

    def _chance(self, what: str) -> random.Random:
        return random.Random(f"{self._seed}/{what}")  # noqa: S311 - the same rhythm every time is the point
