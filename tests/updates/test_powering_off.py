"""A machine that was found off ends off, though its guest reboots when it is asked to power off."""

from __future__ import annotations

from pathlib import Path

import pytest

from innkeeper.hypervisor.simulated.guests import Behaviour
from innkeeper.machines.machine import MachineState
from innkeeper.updates.booking import Report, Verdict
from innkeeper.updates.reboots import RebootWatch, Seen
from innkeeper.wire.events import Event, EventKind
from tests.updates.dying_engine import DyingEngine, Moment
from tests.updates.inn import Inn
from tests.updates.test_foreign_acts import act_on, destroy, start


async def ended(inn: Inn, task_id: int) -> Report:
    """The report of a run whose machine is off again, with its update."""
    await inn.ended(task_id)
    report = await inn.report(task_id)
    assert (report.verdict, report.left_state) == (Verdict.KEPT, "TURNED_OFF"), report.reasons
    assert (await inn.machine()).state is MachineState.TURNED_OFF
    assert inn.guest_disk().packages["base"] == "1.0-2"
    assert inn.leftovers() == []
    return report


async def test_a_guest_that_reboots_instead_is_asked_again(tmp_path: Path) -> None:
    """Once it goes as asked, nothing is told as wrong with its end."""
    inn = Inn(tmp_path)
    await inn.open()
    machine = await inn.add(MachineState.TURNED_OFF, behaviour=Behaviour.REBOOTS_INSTEAD)

    def hear(event: Event) -> None:
        if event.kind is EventKind.MACHINE_REBOOTED:
            machine.behaviour = Behaviour.GOOD

    inn.hearers.append(hear)
    report = await ended(inn, (await inn.start()).id)
    assert not any("turned off" in reason for reason in report.reasons)


@pytest.mark.parametrize("can_be_frozen", [True, False])
async def test_a_guest_that_always_reboots_is_turned_off_once_its_update_is_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_be_frozen: bool
) -> None:
    """After the merge; with its file systems frozen, or once it writes no more."""
    inn = Inn(tmp_path)
    await inn.open()

    async def writes_nothing(name: str) -> int:
        return 512

    monkeypatch.setattr(inn.host.usage, "written_bytes", writes_nothing)
    machine = await inn.add(MachineState.TURNED_OFF, behaviour=Behaviour.REBOOTS_INSTEAD)
    machine.has_guest_agent_port = can_be_frozen
    report = await ended(inn, (await inn.start()).id)
    how = "its file systems were frozen" if can_be_frozen else "it wrote no more"
    (remark,) = [reason for reason in report.reasons if "turned off" in reason]
    assert remark == (
        f"web-1 was found off, and its guest rebooted whenever it was asked to power off: "
        f"it was turned off, once {how}."
    )


async def test_a_guest_that_still_writes_is_left_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the time of a power off, but its plug is not pulled in the middle of what it writes."""
    inn = Inn(tmp_path)
    await inn.open()
    machine = await inn.add(MachineState.TURNED_OFF, behaviour=Behaviour.REBOOTS_INSTEAD)
    machine.has_guest_agent_port = False
    written = [0]

    async def grows(name: str) -> int:
        written[0] += 512
        return written[0]

    monkeypatch.setattr(inn.host.usage, "written_bytes", grows)
    started = await inn.start()
    await inn.until_phase(started.id, "Restoring the former state")
    began = inn.clock.monotonic()
    await inn.ended(started.id)
    report = await inn.report(started.id)
    assert (report.verdict, report.left_state) == (Verdict.KEPT, "RUNNING"), report.reasons
    assert inn.clock.monotonic() - began >= inn.policy.shut_down_seconds
    assert any(
        "it was left running, since it still wrote after 180" in reason for reason in report.reasons
    ), report


@pytest.mark.parametrize("is_heard", [True, False])
@pytest.mark.parametrize("phase", ["Powering off", "Merging the undo disks"])
async def test_whoever_starts_such_a_machine_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str, is_heard: bool
) -> None:
    """It is left running, and told of; also where the service was away, and has not heard of the start."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.TURNED_OFF, behaviour=Behaviour.REBOOTS_INSTEAD)
    started = await inn.start()
    await inn.until_phase(started.id, phase)

    await inn.clock.advance(1.0)
    await act_on(inn, destroy)
    await act_on(inn, start)
    if not is_heard:
        monkeypatch.setattr(RebootWatch, "seen", lambda *_: Seen())
    await inn.ended(started.id)
    report = await inn.report(started.id)
    assert (report.verdict, report.left_state) == (Verdict.KEPT, "RUNNING"), report.reasons


@pytest.mark.parametrize("moment", Moment)
@pytest.mark.parametrize("step", ["rest", "restore"])
async def test_it_ends_off_whenever_the_service_dies(tmp_path: Path, step: str, moment: Moment) -> None:
    """Also in the middle of its last minutes."""
    inn = Inn(tmp_path)
    engine = DyingEngine(inn.journal, inn.clock, step, moment)
    await inn.open(engine)
    await inn.add(MachineState.TURNED_OFF, behaviour=Behaviour.REBOOTS_INSTEAD)
    started = await inn.start()
    await inn.until_dead(engine)
    await inn.open()
    await ended(inn, started.id)
