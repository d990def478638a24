"""Update runs on simulated machines, whose service or QEMU dies again and again at any journalled step."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from pathlib import Path

from innkeeper.hypervisor.simulated.guests import Behaviour
from innkeeper.machines.machine import MachineState
from innkeeper.schedule.calendar import zone_database
from innkeeper.tasks.clock import FakeClock
from innkeeper.tasks.memory_engine import MemoryEngine, MemoryJournal, StepMoment
from innkeeper.updates.booking import Verdict
from innkeeper.updates.policy import UndoPointPolicy
from tests.night.kills.trial import Outcome
from tests.updates.inn import PATIENT, Before, Inn, settle

_STATES = (MachineState.RUNNING, MachineState.PAUSED, MachineState.SAVED, MachineState.TURNED_OFF)
_BEHAVIOURS = (Behaviour.GOOD, Behaviour.NEEDS_REBOOT, Behaviour.BAD)
#: A run has some twenty steps, and each three moments: before it, when it is done, and when that is recorded.
_MOMENTS = 60
_MOST_LIVES = 5
_MOST_MOMENTS = 20_000


class _DyingEngine(MemoryEngine):
    """An engine that is killed after so many moments."""

    def __init__(self, journal: MemoryJournal, clock: FakeClock, moments: int) -> None:
        super().__init__(journal, clock=clock, on_step=self._pass)
        self._left = moments
        self.is_dead = False

    async def _pass(self, _moment: StepMoment) -> None:
        self._count()

    async def stand_still_if_killed(self) -> None:
        """As every engine; it may die here, when an action is done and not yet recorded."""
        self._count()
        await super().stand_still_if_killed()

    def _count(self) -> None:
        self._left -= 1
        if self._left <= 0 and not self.is_dead:
            self.is_dead = True
            self.kill()


def trial(chance: random.Random, directory: Path) -> Outcome:
    """One update, good or bad, of a machine in any state."""
    zone_database.load()
    return asyncio.run(_trial(chance, directory))


async def _trial(chance: random.Random, directory: Path) -> Outcome:
    state, behaviour = chance.choice(_STATES), chance.choice(_BEHAVIOURS)
    policy = dataclasses.replace(PATIENT, undo_point=chance.choice([*UndoPointPolicy]))
    outcome = Outcome(storage=f"simulated, {state.name.lower().replace('_', ' ')}, {policy.undo_point.value}")
    inn = Inn(directory, policy)
    await inn.open(engine := _dying(inn, chance))
    before = await Before.of(inn, await inn.add(state))
    task = (await inn.start(context=behaviour.encode())).id
    for life in range(chance.randint(1, _MOST_LIVES)):
        if life:
            await inn.open(engine := _dying(inn, chance))
        qemu_dies_at = chance.randint(0, 200) if chance.random() < 0.3 else -1
        await _live(inn, engine, task, qemu_dies_at, outcome)
        if not engine.is_dead:
            break
        outcome.kills.append("service")
        await _judge_chain(inn, outcome)
    if engine.is_dead:
        await inn.open()
    await inn.ended(task)
    await _judge(inn, before, task, outcome)
    return outcome


def _dying(inn: Inn, chance: random.Random) -> _DyingEngine:
    return _DyingEngine(inn.journal, inn.clock, chance.randint(1, _MOMENTS))


async def _live(inn: Inn, engine: _DyingEngine, task: int, qemu_dies_at: int, outcome: Outcome) -> None:
    """Let time pass until the service is dead or the run has ended."""
    for moment in range(_MOST_MOMENTS):
        if engine.is_dead or (await inn.tasks.get(task)).is_complete:
            return
        if moment == qemu_dies_at and (await inn.machine()).state is MachineState.RUNNING:
            await inn.host.lifecycle.turn_off("web-1")
            outcome.kills.append("QEMU")
        await inn.pass_time()
    outcome.faults.append("the run never ended")


async def _judge_chain(inn: Inn, outcome: Outcome) -> None:
    """Whenever anybody looks, a disk is its base, or one undo disk over its base."""
    await settle()
    for disk in (await inn.machine()).disks:
        chain = await inn.host.disks.backing_chain(disk.path)
        if chain[-1] != inn.disk(target=disk.target) or len(chain) > 2:
            outcome.faults.append(f"{disk.target} is {chain}")


async def _judge(inn: Inn, before: Before, task: int, outcome: Outcome) -> None:
    report, booking = await inn.report(task), await inn.booking()
    machine = await inn.machine()
    outcome.ended = report.verdict.value.replace("_", " ")
    if booking.verdict is not report.verdict:
        outcome.faults.append(f"the booking says {booking.verdict}, and the report {report.verdict}")
    if report.verdict is Verdict.NEEDS_HELP:
        outcome.faults.append(f"help is needed: {report.reasons}")
    if await inn.host.definitions.read("web-1") != before.definition:
        outcome.faults.append("the definition is another")
    if inn.leftovers():
        outcome.faults.append(f"left over: {inn.leftovers()}")
    version = inn.guest_disk().packages["base"]
    if (version == "1.0-2") is not (report.verdict is Verdict.KEPT):
        outcome.faults.append(f"{report.verdict}, and the guest has {version}")
    untouched = report.verdict is Verdict.ROLLED_BACK and before.state is not MachineState.RUNNING
    if untouched and inn.content() != before.content:
        outcome.faults.append("rolled back, and the disks hold something else")
    if inn.policy.undo_point is UndoPointPolicy.MEMORY and set(outcome.kills) <= {"service"}:
        await _judge_memory(inn, before, report.verdict, outcome)
    if machine.state is not before.state and "QEMU" not in outcome.kills:
        outcome.faults.append(f"it was {before.state.name}, and is {machine.state.name}")


async def _judge_memory(inn: Inn, before: Before, verdict: Verdict, outcome: Outcome) -> None:
    """A machine that ran goes on from the moment before its update where that was not kept."""
    machine = await inn.host.simulation.simulate("web-1", lambda machine, _now: machine)
    now = machine.memory.boot_id if machine.memory else None
    if before.state is MachineState.RUNNING and verdict is Verdict.ROLLED_BACK and now != before.memory:
        outcome.faults.append(f"it runs from another boot than before: {now}, and not {before.memory}")
