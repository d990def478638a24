"""A guest is watched after its update: anew once it was reset, and never kept in a loop of reboots."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from innkeeper.channels.ports import HealthReport
from innkeeper.hypervisor.simulated.agents import FakeAgent
from innkeeper.hypervisor.simulated.guests import Behaviour
from innkeeper.machines.machine import MachineState
from innkeeper.updates.booking import Verdict
from tests.updates.inn import PATIENT, Inn
from tests.updates.test_foreign_acts import act_on, reset

#: What each look while the guest is watched is told of restarts, by unit: the first is that of the begin.
Restarts = dict[str, int]
WATCH = "Watching the guest for a while"


class Units:
    """Units that end by themselves as a test wants it; each boot counts anew."""

    def __init__(self, inn: Inn, looks: list[Restarts], resets: set[int]) -> None:
        self._inn = inn
        self._looks = looks
        #: Before which looks somebody resets the machine.
        self._resets = resets
        self.looked = 0

    async def report(self, told: HealthReport) -> HealthReport:
        """The report of the next look."""
        assert told.details is not None
        counts = self._looks[min(self.looked, len(self._looks) - 1)]
        self.looked += 1
        units = {
            **told.details.units,
            **{
                name: dataclasses.replace(told.details.units["ssh.service"], name=name, restarts=count)
                for name, count in counts.items()
            },
        }
        return dataclasses.replace(told, details=dataclasses.replace(told.details, units=units))

    async def reset(self) -> None:
        """Somebody does, in the watch before a look."""
        if self.looked in self._resets:
            self._resets.discard(self.looked)
            await act_on(self._inn, reset)


async def watched(
    inn: Inn, patch: pytest.MonkeyPatch, looks: list[Restarts], *resets: int
) -> tuple[Units, int]:
    """A run whose guest is as the looks of its watches say, and that is reset in the watch before some."""
    await inn.open()
    await inn.add(MachineState.RUNNING)
    started = await inn.start()
    units = Units(inn, looks, {*resets})
    real = FakeAgent.health

    async def health(agent: FakeAgent, *, history: bool = False) -> HealthReport:
        told = await real(agent, history=history)
        is_watched = (await inn.tasks.get(started.id)).progress.phase == WATCH
        return await units.report(told) if is_watched else told

    patch.setattr(FakeAgent, "health", health)
    await inn.until_phase(started.id, WATCH)
    while not (await inn.tasks.get(started.id)).is_complete:
        await units.reset()
        await inn.pass_time()
    return units, started.id


def several(*counts: int) -> list[Restarts]:
    """One look each: so often each of the units has been started again by then."""
    return [dict(zip(("a.service", "b.service", "c.service"), counts, strict=False))]


#: One unit ends once in the first watch, and another one in the second: the third watch tells.
TO_THE_THIRD = [*several(0, 0), *several(1, 0), *several(1, 1)]


async def test_a_guest_that_is_reset_in_its_last_watch_is_watched_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ends again and again in the new boot is found."""
    inn = Inn(tmp_path)
    looks = [*TO_THE_THIRD, *several(0, 0), *several(5, 0)]
    units, task = await watched(inn, monkeypatch, looks, 3)
    report = await inn.report(task)
    assert report.verdict is Verdict.ROLLED_BACK, report
    assert units.looked == 5
    assert any("a.service has ended by itself, and was started again 5 times" in r for r in report.reasons)


async def test_a_guest_that_was_reset_in_its_last_watch_and_is_well_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One whole watch of the new boot is what it takes."""
    inn = Inn(tmp_path)
    units, task = await watched(inn, monkeypatch, [*TO_THE_THIRD, *several(0, 0)], 3)
    assert (await inn.report(task)).verdict is Verdict.KEPT
    assert units.looked == 5


async def test_a_reset_clears_all_suspicion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit that has ended once before it, and once after it, had two boots to do so."""
    inn = Inn(tmp_path)
    looks = [*several(0), *several(1), *several(0), *several(1), *several(1)]
    units, task = await watched(inn, monkeypatch, looks, 2)
    report = await inn.report(task)
    assert (report.verdict, units.looked) == (Verdict.KEPT, 5), report.reasons


async def test_the_watches_after_a_reset_are_three_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ends in the last of them is found."""
    inn = Inn(tmp_path)
    looks = [*several(0), *several(0), *several(1, 0, 0), *several(1, 1, 0), *several(1, 1, 5)]
    units, task = await watched(inn, monkeypatch, looks, 1)
    report = await inn.report(task)
    assert (report.verdict, units.looked) == (Verdict.ROLLED_BACK, 5), report.reasons


@pytest.mark.parametrize("watch", [1, 2])
async def test_several_reboots_between_two_looks_are_a_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watch: int
) -> None:
    """The guest is in one new boot at the next look; its host tells that there were more."""
    inn = Inn(tmp_path, dataclasses.replace(PATIENT, soak_seconds=300.0))
    await inn.open()
    await inn.add(MachineState.RUNNING)
    started = await inn.start()
    await inn.until_phase(started.id, WATCH)
    if watch == 2:
        await act_on(inn, reset)
        await inn.clock.advance(301.0)
    for _ in range(3):
        await inn.clock.advance(60.0)
        await act_on(inn, reset)
    await inn.ended(started.id)
    report = await inn.report(started.id)
    assert report.verdict is Verdict.ROLLED_BACK
    assert "The guest has rebooted by itself after the update." in report.reasons


async def test_a_loop_while_its_health_is_looked_at_is_not_kept(tmp_path: Path) -> None:
    """A service takes its time in each boot, and the guest is well at the last look."""
    inn = Inn(tmp_path, dataclasses.replace(PATIENT, soak_seconds=300.0))
    await inn.open()
    await inn.add(MachineState.RUNNING)
    started = await inn.start(context=Behaviour.SLOW_SERVICE.encode())
    await inn.until_phase(started.id, "Checking the guest's health")
    for _ in range(3):
        await inn.clock.advance(15.0)
        await act_on(inn, reset)
    await inn.ended(started.id)
    report = await inn.report(started.id)
    assert report.verdict is Verdict.ROLLED_BACK, report
    assert "The guest has rebooted by itself after the update." in report.reasons


async def test_a_panic_while_its_health_is_looked_at_is_not_kept(tmp_path: Path) -> None:
    """The guest comes back well from one that its console tells of."""
    inn = Inn(tmp_path)
    await inn.open()
    machine = await inn.add(MachineState.RUNNING)
    started = await inn.start(context=Behaviour.SLOW_SERVICE.encode())
    await inn.until_phase(started.id, "Checking the guest's health")
    await inn.clock.advance(11.0)
    machine.console += "[   99.0] Kernel panic - not syncing: Fatal exception\r\n"
    await act_on(inn, reset)
    await inn.ended(started.id)
    report = await inn.report(started.id)
    assert report.verdict is Verdict.ROLLED_BACK, report
