"""A guest that goes on from memory has the right clock before anything is asked of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from innkeeper.errors import AgentError
from innkeeper.machines.change import Scope, ValueSet
from innkeeper.machines.machine import MachineState
from innkeeper.machines.values import TIME_SYNC
from innkeeper.tasks.task import TaskResult
from innkeeper.updates.booking import Verdict
from tests.updates.inn import Inn


@pytest.mark.parametrize("state", [MachineState.SAVED, MachineState.PAUSED])
@pytest.mark.parametrize("is_wanted", [True, False])
async def test_the_clock_is_set_before_the_update(
    tmp_path: Path, state: MachineState, is_wanted: bool
) -> None:
    """By the run itself, unless the machine is set to keep its own."""
    inn = Inn(tmp_path)
    await inn.open()
    machine = await inn.add(state)
    if not is_wanted:
        await inn.host.configurations.change("web-1", ValueSet(key=TIME_SYNC, value=False), Scope.PERSISTENT)
    started = await inn.start()
    await inn.until_phase(started.id, "Updating")
    assert machine.memory is not None
    assert bool(machine.memory.clock_set_at) == is_wanted
    assert (await inn.ended(started.id)).result is TaskResult.SUCCESS


async def test_an_update_goes_on_though_nobody_can_set_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log says so."""
    inn = Inn(tmp_path)
    await inn.open()
    machine = await inn.add(MachineState.SAVED)
    machine.has_guest_agent_port = False

    async def refuse(*_: object) -> None:
        raise AgentError("This agent cannot set clocks.", machine="web-1")

    monkeypatch.setattr("innkeeper.hypervisor.simulated.agents.FakeAgent.set_time", refuse)
    task = await inn.ended((await inn.start()).id)
    assert (await inn.report(task.id)).verdict is Verdict.KEPT
    said = "\n".join(line.text for line in await inn.tasks.log(task.id))
    assert "Nobody in the guest could set its clock" in said
