"""A machine that somebody starts as soon as it stops is still brought back to what it was."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from innkeeper.errors import ErrorCode, HypervisorError
from innkeeper.hypervisor.simulated.guests import Behaviour
from innkeeper.machines.change import Change, MetadataChanged, Scope
from innkeeper.machines.machine import MachineState
from innkeeper.updates.booking import Verdict
from innkeeper.wire.events import Event, EventKind
from tests.updates.inn import Inn


@pytest.mark.parametrize("state", [MachineState.RUNNING, MachineState.TURNED_OFF])
async def test_a_roll_back_ends_well_though_the_machine_is_started_at_once(
    tmp_path: Path, state: MachineState
) -> None:
    """With its own disks, firmware variables and TPM; one that was off is left to whoever started it."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(state)
    starts: list[asyncio.Task[None]] = []

    def start(event: Event) -> None:
        if event.kind is EventKind.MACHINE_STOPPED and len(starts) < 5:
            starting = inn.host.simulation.simulate(
                "web-1", lambda machine, now: None if machine.is_on else machine.boot(now)
            )
            starts.append(asyncio.ensure_future(starting))

    inn.hearers.append(start)
    task = await inn.ended((await inn.start(context=Behaviour.BAD.encode())).id)
    report = await inn.report(task.id)
    assert report.verdict is Verdict.ROLLED_BACK, report.reasons
    assert starts
    assert (await inn.machine()).state is MachineState.RUNNING
    assert (await inn.machine()).disks[0].path == inn.disk()
    assert inn.leftovers() == []
    assert inn.guest_disk().packages["base"] == "1.0-1"
    inn.assert_state_of_the_disk()
    assert not (await inn.host.configurations.read("web-1")).extras.held_until


async def test_a_job_on_the_machine_keeps_no_half_done_update_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its definition cannot be noted in then, and it can be turned off all the same."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    change = inn.host.configurations.change

    async def change_unless_running(name: str, what: Change, scope: Scope = Scope.PERSISTENT) -> None:
        if isinstance(what, MetadataChanged) and what.extras.get("held_until"):
            raise HypervisorError("cannot acquire state change lock", code=ErrorCode.ERROR_BUSY)
        await change(name, what, scope)

    monkeypatch.setattr(inn.host.configurations, "change", change_unless_running)
    task = await inn.ended((await inn.start(context=Behaviour.BAD.encode())).id)
    report = await inn.report(task.id)
    assert report.verdict is Verdict.ROLLED_BACK, report.reasons
    assert inn.guest_disk().packages["base"] == "1.0-1"
    assert inn.leftovers() == []
