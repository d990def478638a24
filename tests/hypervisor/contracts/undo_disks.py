"""Contracts of ``machines.ports.undo_disks``."""

from __future__ import annotations

from pathlib import Path

import pytest

from innkeeper.errors import WrongState
from innkeeper.machines.machine import DiskKind, MachineState
from tests.hypervisor.contracts.subject import Subject, bring_to


class UndoDisksContract:
    """Undo disks are put over disks, merged and taken away."""

    async def test_disks_are_image_files(self, subject: Subject) -> None:
        """The suite needs one to put an overlay over."""
        machine = await subject.hypervisor.inventory.get(subject.name)
        assert machine.disks
        assert all(disk.kind is DiskKind.FILE for disk in machine.disks)

    @pytest.mark.parametrize("state", [MachineState.TURNED_OFF, MachineState.PAUSED, MachineState.RUNNING])
    async def test_overlays_are_added_and_merged_in_any_settled_state(
        self, subject: Subject, state: MachineState
    ) -> None:
        """Each step may be repeated, the state stays, and the machine is on its bases in the end."""
        await bring_to(subject, state)
        bases = await subject.sources()
        overlays = subject.overlays(bases)
        for _ in range(2):
            await subject.hypervisor.undo_disks.add(subject.name, overlays)
            assert await subject.sources() == overlays
        for target, path in overlays.items():
            assert list(await subject.hypervisor.disks.backing_chain(path))[:2] == [path, bases[target]]
        for _ in range(2):
            await subject.hypervisor.undo_disks.merge(subject.name, bases)
            assert await subject.sources() == bases
        assert await subject.state() is state
        for path in (*overlays.values(), *overlays.values()):
            await subject.hypervisor.disks.delete(path)
            assert not Path(path).exists()

    async def test_overlays_are_dropped_from_a_machine_that_is_off(self, subject: Subject) -> None:
        """The definition names the bases again; a running machine is refused."""
        bases = await subject.sources()
        await subject.hypervisor.undo_disks.add(subject.name, subject.overlays(bases))
        await subject.hypervisor.lifecycle.start(subject.name)
        with pytest.raises(WrongState):
            await subject.hypervisor.undo_disks.drop(subject.name, bases)
        await subject.hypervisor.lifecycle.turn_off(subject.name)
        for _ in range(2):
            await subject.hypervisor.undo_disks.drop(subject.name, bases)
            assert await subject.sources() == bases

    async def test_whoever_starts_a_machine_that_goes_back_starts_it_on_its_own_disks(
        self, subject: Subject
    ) -> None:
        """Told while it still runs on the overlays; they are forgotten then, though it runs."""
        before = await subject.hypervisor.definitions.read(subject.name)
        bases = await subject.sources()
        overlays = subject.overlays(bases)
        await subject.hypervisor.undo_disks.add(subject.name, overlays)
        await subject.hypervisor.lifecycle.start(subject.name)
        for _ in range(2):
            await subject.hypervisor.undo_disks.stand_down(subject.name, bases)
            assert await subject.sources() == overlays
        await subject.hypervisor.lifecycle.turn_off(subject.name)
        await subject.hypervisor.lifecycle.start(subject.name)
        for _ in range(2):
            await subject.hypervisor.undo_disks.drop(subject.name, bases)
            assert await subject.sources() == bases
        after = await subject.hypervisor.definitions.read(subject.name)
        # libvirt puts controllers into another order.
        assert sorted(after.splitlines()) == sorted(before.splitlines())

    async def test_trying_on_a_saved_machine_leaves_its_saved_state(self, subject: Subject) -> None:
        """It runs on overlays; turned off, it is saved again, and restores onto its own disks."""
        await bring_to(subject, MachineState.RUNNING)
        bases = await subject.sources()
        await subject.hypervisor.saved_states.save(subject.name)
        overlays = subject.overlays(bases)
        await subject.hypervisor.undo_disks.add(subject.name, overlays)
        for _ in range(2):
            await subject.hypervisor.saved_states.restore_keeping(subject.name, overlays)
            assert await subject.state() is MachineState.RUNNING
            assert await subject.sources() == overlays
        await subject.hypervisor.lifecycle.turn_off(subject.name)
        assert await subject.state() is MachineState.SAVED
        await subject.hypervisor.undo_disks.drop(subject.name, bases)
        await subject.hypervisor.lifecycle.start(subject.name)
        assert await subject.state() is MachineState.RUNNING
        assert await subject.sources() == bases


class SavedUndoContract:
    """A machine that was saved on its undo disks is merged as it is."""

    async def test_a_machine_saved_on_undo_disks_is_merged_and_restored(self, subject: Subject) -> None:
        """Its memory goes on with the bases; the merge may be repeated."""
        bases = await subject.sources()
        await subject.hypervisor.undo_disks.add(subject.name, subject.overlays(bases))
        await bring_to(subject, MachineState.RUNNING)
        await subject.hypervisor.saved_states.save(subject.name)
        for _ in range(2):
            await subject.hypervisor.undo_disks.merge(subject.name, bases)
            assert await subject.state() is MachineState.SAVED
            assert await subject.sources() == bases
        for path in subject.overlays(bases).values():
            assert path not in await subject.hypervisor.saved_states.definition(subject.name)
            await subject.hypervisor.disks.delete(path)
        await subject.hypervisor.lifecycle.start(subject.name)
        assert await subject.state() is MachineState.RUNNING
        assert await subject.sources() == bases
