"""Somebody stops, starts or resets a machine in the middle of a good update: it is kept where it is well."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from innkeeper.hypervisor.simulated.guests import Behaviour
from innkeeper.hypervisor.simulated.machines import SimulatedMachine
from innkeeper.machines.machine import MachineState
from innkeeper.updates.booking import Verdict
from innkeeper.wire.events import Event, EventKind
from tests.updates.inn import Before, Inn

Act = Callable[[SimulatedMachine, float], None]


def reset(machine: SimulatedMachine, now: float) -> None:
    """``virsh reset``."""
    machine.reset(now)


def restart(machine: SimulatedMachine, now: float) -> None:
    """``virsh destroy``, and at once ``virsh start``."""
    machine.turn_off()
    machine.boot(now)


def destroy(machine: SimulatedMachine, now: float) -> None:
    """``virsh destroy``."""
    machine.turn_off()


def save(machine: SimulatedMachine, now: float) -> None:
    """``virsh managedsave``."""
    machine.save(now)


async def act_on(inn: Inn, act: Act) -> None:
    """Do something to the machine, as people do with other programs."""
    await inn.host.simulation.simulate("web-1", act)


@pytest.mark.parametrize("phase", ["Rebooting", "Watching the guest for a while"])
@pytest.mark.parametrize(
    ("state", "act"),
    [
        *((MachineState.RUNNING, act) for act in (reset, restart, destroy, save)),
        *((MachineState.TURNED_OFF, act) for act in (reset, restart, destroy, save)),
        (MachineState.SAVED, reset),
        (MachineState.PAUSED, reset),
    ],
)
async def test_a_good_update_is_kept_whatever_somebody_does_to_its_machine(
    tmp_path: Path, state: MachineState, phase: str, act: Act
) -> None:
    """It is started once where nobody else does, and left in the state that it was found in."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(state)
    started = await inn.start(context=Behaviour.NEEDS_REBOOT.encode())
    await inn.until_phase(started.id, phase)
    await inn.clock.advance(1.0)
    await act_on(inn, act)
    inn.events.clear()
    task = await inn.ended(started.id)
    report = await inn.report(task.id)
    assert (report.verdict, report.left_state) == (Verdict.KEPT, state.name), report.reasons
    assert (await inn.machine()).state is state
    assert inn.guest_disk().packages["base"] == "1.0-2"
    assert inn.leftovers() == []
    starts = [event.kind for event in inn.events].count(EventKind.MACHINE_STARTED)
    assert starts <= 1


@pytest.mark.parametrize("state", [MachineState.SAVED, MachineState.PAUSED])
async def test_memory_of_before_the_update_never_meets_its_disks(tmp_path: Path, state: MachineState) -> None:
    """A machine that was found with its memory saved, and that somebody stops, goes back to all it was."""
    inn = Inn(tmp_path)
    await inn.open()
    machine = await inn.add(state)
    before = await Before.of(inn, machine)
    started = await inn.start(context=Behaviour.NEEDS_REBOOT.encode())
    await inn.until_phase(started.id, "Watching the guest for a while")
    await act_on(inn, destroy)
    task = await inn.ended(started.id)
    report = await inn.report(task.id)
    assert (report.verdict, report.left_state) == (Verdict.ROLLED_BACK, state.name), report.reasons
    assert await Before.of(inn, machine) == before
    assert inn.leftovers() == []


async def test_a_guest_that_is_reset_again_and_again_is_not_kept(tmp_path: Path) -> None:
    """It is watched anew once."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    started = await inn.start()
    await inn.until_phase(started.id, "Watching the guest for a while")
    for _ in range(200):
        task = await inn.tasks.get(started.id)
        if task.progress.phase != "Watching the guest for a while":
            break
        if (await inn.agents.connected(inn.key(), timeout=0)).hello:
            await act_on(inn, reset)
        for _ in range(4):
            await inn.pass_time()
    await inn.ended(started.id)
    report = await inn.report(started.id)
    assert report.verdict is Verdict.ROLLED_BACK
    assert any("rebooted by itself" in reason for reason in report.reasons)


async def test_a_bad_update_is_rolled_back_whatever_somebody_does(tmp_path: Path) -> None:
    """A reset makes no broken guest well."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    started = await inn.start(context=Behaviour.BAD_AFTER_REBOOT.encode())
    await inn.until_phase(started.id, "Rebooting")
    await act_on(inn, reset)
    await inn.ended(started.id)
    assert (await inn.report(started.id)).verdict is Verdict.ROLLED_BACK


def start(machine: SimulatedMachine, now: float) -> None:
    """``virsh start``, or ``virsh resume``."""
    if machine.state is MachineState.PAUSED:
        machine.resume(now)
    elif machine.state is MachineState.SAVED:
        machine.restore(now)
        machine.saved = None
    elif not machine.is_on:
        machine.boot(now)


@pytest.mark.parametrize(
    ("state", "port", "call"),
    [
        (MachineState.SAVED, "saved_states", "save"),
        (MachineState.PAUSED, "lifecycle", "pause"),
        (MachineState.TURNED_OFF, "", ""),
    ],
)
async def test_whoever_starts_a_machine_that_was_put_to_rest_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: MachineState, port: str, call: str
) -> None:
    """The former state is somebody's own doing then: the update is kept, and the report says so."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(state)
    started = await inn.start()
    await inn.until_phase(started.id, "Watching the guest for a while")
    acts: list[asyncio.Task[None]] = []
    if call:
        real = getattr(getattr(inn.host, port), call)

        async def then_started(*args: object) -> None:
            await real(*args)
            await act_on(inn, start)

        monkeypatch.setattr(getattr(inn.host, port), call, then_started)
    else:

        def hear(event: Event) -> None:
            if event.kind is EventKind.MACHINE_STOPPED:
                acts.append(asyncio.ensure_future(act_on(inn, start)))

        inn.hearers.append(hear)
    task = await inn.ended(started.id)
    report = await inn.report(task.id)
    assert (report.verdict, report.left_state) == (Verdict.KEPT, "RUNNING"), report.reasons
    (reason,) = report.reasons
    assert reason.endswith("and somebody has started it meanwhile: it is left running.")
    assert inn.leftovers() == []
    assert inn.guest_disk().packages["base"] == "1.0-2"
