"""Contract of ``machines.ports.saved_states``."""

from __future__ import annotations

import pytest

from innkeeper.errors import WrongState
from innkeeper.machines.machine import MachineState
from tests.hypervisor.contracts.subject import Subject


class SavedStatesContract:
    """Memory is saved, restored and discarded."""

    async def test_a_saved_machine_runs_again(self, subject: Subject) -> None:
        """A save may be repeated, and a restore uses the saved state up."""
        await subject.hypervisor.lifecycle.start(subject.name)
        for _ in range(2):
            await subject.hypervisor.saved_states.save(subject.name)
            assert await subject.state() is MachineState.SAVED
        await subject.hypervisor.lifecycle.start(subject.name)
        assert await subject.state() is MachineState.RUNNING
        await subject.hypervisor.lifecycle.turn_off(subject.name)
        assert await subject.state() is MachineState.TURNED_OFF

    async def test_a_machine_saved_while_paused_comes_back_paused(self, subject: Subject) -> None:
        """No instruction runs that did not run before."""
        await subject.hypervisor.lifecycle.start(subject.name)
        await subject.hypervisor.lifecycle.pause(subject.name)
        await subject.hypervisor.saved_states.save(subject.name)
        await subject.hypervisor.lifecycle.start(subject.name)
        assert await subject.state() is MachineState.PAUSED

    async def test_a_saved_state_can_be_discarded(self, subject: Subject) -> None:
        """Nothing is left to restore, and asking again is no error."""
        await subject.hypervisor.lifecycle.start(subject.name)
        await subject.hypervisor.saved_states.save(subject.name)
        for _ in range(2):
            await subject.hypervisor.saved_states.discard(subject.name)
        assert await subject.state() is MachineState.TURNED_OFF

    async def test_a_machine_without_a_saved_state_shows_none(self, subject: Subject) -> None:
        """There is no definition inside it."""
        with pytest.raises(WrongState):
            await subject.hypervisor.saved_states.definition(subject.name)
        with pytest.raises(WrongState):
            await subject.hypervisor.saved_states.disks(subject.name)

    async def test_saved_memory_knows_its_disks(self, subject: Subject) -> None:
        """Those that the machine had then."""
        disks = [disk.target for disk in (await subject.hypervisor.inventory.get(subject.name)).disks]
        await subject.hypervisor.lifecycle.start(subject.name)
        await subject.hypervisor.saved_states.save(subject.name)
        assert [disk.target for disk in await subject.hypervisor.saved_states.disks(subject.name)] == disks
