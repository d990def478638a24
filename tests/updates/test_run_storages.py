"""An update run over disks that are no files of the host leaves nothing behind."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from innkeeper.hypervisor.simulated.guests import Behaviour
from innkeeper.hypervisor.simulated.machines import SimulatedMachine
from innkeeper.machines.machine import DiskKind, MachineState
from innkeeper.updates.booking import Verdict
from tests.updates.inn import Inn


@pytest.mark.parametrize("state", [MachineState.TURNED_OFF, MachineState.RUNNING])
@pytest.mark.parametrize("kind", [DiskKind.BLOCK, DiskKind.NETWORK])
@pytest.mark.parametrize(
    ("behaviour", "verdict"),
    [(Behaviour.GOOD, Verdict.KEPT), (Behaviour.BAD, Verdict.ROLLED_BACK)],
)
async def test_a_run_over_other_storage_ends_as_over_files(
    tmp_path: Path, kind: DiskKind, state: MachineState, behaviour: Behaviour, verdict: Verdict
) -> None:
    """Its overlays lie among the host's undo disks, and are gone in the end."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(state, behaviour=behaviour)

    def change(machine: SimulatedMachine, _: float) -> None:
        for disks in (machine.disks, machine.live_disks):
            disks[:] = [dataclasses.replace(disk, kind=kind) for disk in disks]

    await inn.host.simulation.simulate("web-1", change)
    task = await inn.start()
    await inn.ended(task.id)
    report = await inn.reports.get(task.id)
    assert report is not None
    assert report.verdict is verdict
    assert list(inn.directory.rglob("*.innkeeper-*")) == []
