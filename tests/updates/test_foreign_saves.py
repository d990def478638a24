"""Somebody saves a machine in the middle of its update (``virsh managedsave``), over the memory of before."""

from __future__ import annotations

from pathlib import Path

import pytest

from innkeeper.hypervisor.simulated.guests import Behaviour
from innkeeper.machines.machine import MachineState
from innkeeper.tasks.task import TaskResult
from innkeeper.updates.booking import Verdict
from tests.updates.inn import Before, Inn
from tests.updates.test_foreign_acts import act_on, save

WITH_MEMORY = [MachineState.SAVED, MachineState.PAUSED]
WATCHED = ["Rebooting", "Checking the guest's health", "Watching the guest for a while"]


async def saved_in(inn: Inn, task_id: int, phase: str) -> None:
    """Somebody saves the machine in a phase."""
    await inn.until_phase(task_id, phase)
    await inn.clock.advance(1.0)
    await act_on(inn, save)


@pytest.mark.parametrize("phase", WATCHED)
@pytest.mark.parametrize("state", WITH_MEMORY)
async def test_a_good_update_goes_on_from_the_memory_that_was_saved_anew(
    tmp_path: Path, state: MachineState, phase: str
) -> None:
    """It is the updated guest's, and its disks are still there: nothing is lost."""
    inn = Inn(tmp_path)
    await inn.open()
    machine = await inn.add(state)
    behaviour = Behaviour.NEEDS_REBOOT if phase == "Rebooting" else Behaviour.SLOW_SERVICE
    started = await inn.start(context=behaviour.encode())
    await saved_in(inn, started.id, phase)
    await inn.ended(started.id)
    report = await inn.report(started.id)
    assert (report.verdict, report.left_state) == (Verdict.KEPT, state.name), report.reasons
    assert (await inn.machine()).state is state
    assert inn.guest_disk().packages["base"] == "1.0-2"
    assert inn.leftovers() == []
    if state is MachineState.SAVED:
        saved = inn.host.simulation.machines[machine.name].saved
        assert saved is not None
        assert {disk.path for disk in saved.disks} == {inn.disk(), inn.disk(target="vdb")}


@pytest.mark.parametrize(
    ("phase", "behaviour"),
    [
        ("Updating", Behaviour.GOOD),
        *((phase, Behaviour.BAD_AFTER_REBOOT) for phase in ("Rebooting", "Checking the guest's health")),
    ],
)
@pytest.mark.parametrize("state", WITH_MEMORY)
async def test_memory_of_undo_disks_goes_with_them(
    tmp_path: Path, state: MachineState, phase: str, behaviour: Behaviour
) -> None:
    """The memory of before is gone: the machine is left off, on its own disks, and the report says why."""
    inn = Inn(tmp_path)
    await inn.open()
    machine = await inn.add(state)
    before = await Before.of(inn, machine)
    started = await inn.start(context=behaviour.encode())
    await saved_in(inn, started.id, phase)
    task = await inn.ended(started.id)
    report = await inn.report(started.id)
    assert (report.verdict, report.left_state) == (Verdict.ROLLED_BACK, "TURNED_OFF"), report.reasons
    assert task.result is not TaskResult.SUCCESS
    after = await Before.of(inn, inn.host.simulation.machines[machine.name])
    assert (after.state, after.content, after.memory) == (MachineState.TURNED_OFF, before.content, None)
    assert any("its memory of before is gone" in reason for reason in report.reasons), report.reasons
    assert inn.leftovers() == []


@pytest.mark.parametrize("state", [MachineState.RUNNING, MachineState.TURNED_OFF])
async def test_a_machine_without_memory_of_before_goes_back_whole(
    tmp_path: Path, state: MachineState
) -> None:
    """What was saved in the middle of its update is of no use to anybody."""
    inn = Inn(tmp_path)
    await inn.open()
    machine = await inn.add(state)
    before = inn.content()
    started = await inn.start()
    await saved_in(inn, started.id, "Updating")
    await inn.ended(started.id)
    report = await inn.report(started.id)
    assert (report.verdict, report.left_state) == (Verdict.ROLLED_BACK, state.name), report.reasons
    assert inn.host.simulation.machines[machine.name].saved is None
    assert inn.guest_disk().packages["base"] == "1.0-1"
    assert inn.leftovers() == []
    assert state is MachineState.RUNNING or inn.content() == before
