"""Made-up use of simulated machines: each its own rhythm, and counters that never go back."""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import math
import random
from collections.abc import Sequence

from innkeeper.hypervisor.simulated.machines import SimulatedMachine
from innkeeper.hypervisor.simulated.simulation import Simulation
from innkeeper.machines.usage import Usage

_MIB = 1 << 20
#: As many machines' rhythms are kept: to find one anew takes ten times as long as to use it.
_KEPT = 16_384


class SimulatedUsage:
    """The use of simulated machines (``machines.ports.usage_meter.UsageMeter``)."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    async def read(self) -> Sequence[Usage]:
        """The use of the machines that are on, by their own rhythms."""
        await self._simulation.condition.reach()
        now = self._simulation.clock.now().timestamp()
        machines = list(self._simulation.machines.values())
        return [used for machine in machines if (used := usage(machine, now))]

    async def written_bytes(self, machine: str) -> int | None:
        """What this machine has written, by its own rhythm."""
        await self._simulation.condition.reach()
        found = self._simulation.machines.get(machine)
        used = usage(found, self._simulation.clock.now().timestamp()) if found is not None else None
        return used.disk_written_bytes if used is not None else None


def usage(machine: SimulatedMachine, now: float) -> Usage | None:
    """The machine's use since it was turned on; ``None`` where it is off."""
    if machine.memory is None:
        return None
    until = now if machine.paused_at is None else machine.paused_at
    began = machine.memory.booted_at or until
    rhythm = _rhythm_of(machine.uuid, began)
    return Usage(
        machine=machine.name,
        vcpus=machine.vcpus,
        cpu_seconds=rhythm.cpu.used(until) * machine.vcpus,
        memory_bytes=int(machine.memory_mib * _MIB * rhythm.memory_held(until - began)),
        disk_read_bytes=int(rhythm.read.used(until) * _MIB),
        disk_written_bytes=int(rhythm.written.used(until) * _MIB),
        network_received_bytes=int(rhythm.received.used(until) * _MIB),
        network_sent_bytes=int(rhythm.sent.used(until) * _MIB),
        started_at=dt.datetime.fromtimestamp(began, dt.UTC),
    )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Waves:
    """The use of one thing: two waves over a mean, whose sum is never negative."""

    #: What is used in a second.
    mean: float
    slow: float
    quick: float
    shift: float
    #: The integral when the machine was turned on, for a mean of one.
    before: float = 0.0

    @classmethod
    def by(cls, chance: random.Random, least: float, most: float, began: float) -> _Waves:
        """Waves of their own, between these means, of a machine turned on at that moment."""
        waves = cls(
            mean=least + (most - least) * chance.random() ** 2,
            slow=math.tau / chance.uniform(120, 900),
            quick=math.tau / chance.uniform(9, 40),
            shift=chance.uniform(0, math.tau),
        )
        return dataclasses.replace(waves, before=waves._integral(began))

    def used(self, until: float) -> float:
        """All that was used since the machine was turned on."""
        return self.mean * (self._integral(until) - self.before)

    def _integral(self, at: float) -> float:
        slow, quick = self.slow, self.quick
        return at - 0.55 * math.cos(slow * at + self.shift) / slow - 0.35 * math.cos(quick * at) / quick


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Rhythm:
    """The work of one machine since it was turned on."""

    cpu: _Waves
    read: _Waves
    written: _Waves
    received: _Waves
    sent: _Waves
    #: The part of its memory that it comes to hold.
    memory: float

    def memory_held(self, seconds: float) -> float:
        """The part of its memory that it holds so long after its boot: rising, up to its own level."""
        warm = 1 - math.exp(-max(0.0, seconds) / 120)
        return self.memory * (0.3 + 0.7 * warm)


@functools.lru_cache(maxsize=_KEPT)
def _rhythm_of(uuid: str, began: float) -> _Rhythm:
    chance = random.Random(uuid)  # noqa: S311 - the same rhythm every time is the point
    return _Rhythm(
        cpu=_Waves.by(chance, 0.02, 0.4, began),
        read=_Waves.by(chance, 0.01, 2.0, began),
        written=_Waves.by(chance, 0.01, 1.0, began),
        received=_Waves.by(chance, 0.001, 0.5, began),
        sent=_Waves.by(chance, 0.001, 0.8, began),
        memory=chance.uniform(0.4, 0.9),
    )
