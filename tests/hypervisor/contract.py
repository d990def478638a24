"""What every hypervisor promises, as tests that run over each implementation.

A test module subclasses a part of the contract and gives it the fixture ``subject``: a ``Subject`` with one
machine, off, whose disks are image files.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest

from innkeeper.errors import MachineNotFound, WrongState
from innkeeper.machines.machine import DiskKind, MachineState
from innkeeper.machines.ports import Hypervisor

_TIMEOUT_S = 180


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """One implementation under test, and a machine of it that is off."""

    hypervisor: Hypervisor
    #: The machine's name.
    name: str
    #: Where overlays may be put.
    directory: Path

    async def state(self) -> MachineState:
        """What the machine does now."""
        return (await self.hypervisor.machine(self.name)).state

    async def until(self, wanted: MachineState) -> None:
        """Wait for a state that the guest, or the end of QEMU, brings about."""
        async with asyncio.timeout(_TIMEOUT_S):
            while await self.state() is not wanted:
                await asyncio.sleep(0.05)

    async def sources(self) -> Mapping[str, str]:
        """The file that takes the writes of each disk."""
        return {disk.target: disk.path for disk in (await self.hypervisor.machine(self.name)).disks}

    def overlays(self, bases: Mapping[str, str], suffix: str = "undo") -> dict[str, str]:
        """A path for an overlay of each disk."""
        return {target: str(self.directory / f"{self.name}-{target}.{suffix}") for target in bases}


class LifeContract:
    """Machines are found, start, stop, pause and resume."""

    async def test_a_machine_is_found_by_name_and_in_the_list(self, subject: Subject) -> None:
        """Both ways of asking give the same value."""
        one = await subject.hypervisor.machine(subject.name)
        assert one.state is MachineState.TURNED_OFF
        assert one in await subject.hypervisor.machines()
        assert one.host == subject.hypervisor.name

    async def test_an_unknown_machine_is_refused_by_name(self, subject: Subject) -> None:
        """The error carries the name that was asked for."""
        with pytest.raises(MachineNotFound) as caught:
            await subject.hypervisor.machine("nobody")
        assert caught.value.machine == "nobody"

    async def test_start_and_turn_off_may_be_repeated(self, subject: Subject) -> None:
        """A step that runs again after a crash changes nothing."""
        await subject.hypervisor.start(subject.name)
        await subject.hypervisor.start(subject.name)
        assert await subject.state() is MachineState.RUNNING
        await subject.hypervisor.turn_off(subject.name)
        await subject.hypervisor.turn_off(subject.name)
        assert await subject.state() is MachineState.TURNED_OFF

    async def test_pause_and_resume_may_be_repeated(self, subject: Subject) -> None:
        """The second call finds the work done."""
        await subject.hypervisor.start(subject.name)
        for _ in range(2):
            await subject.hypervisor.pause(subject.name)
            assert await subject.state() is MachineState.PAUSED
        for _ in range(2):
            await subject.hypervisor.resume(subject.name)
            assert await subject.state() is MachineState.RUNNING

    async def test_a_machine_can_be_started_paused(self, subject: Subject) -> None:
        """No instruction of the guest runs before somebody lets it."""
        await subject.hypervisor.start(subject.name, paused=True)
        assert await subject.state() is MachineState.PAUSED

    async def test_a_running_machine_cannot_be_forgotten(self, subject: Subject) -> None:
        """The refusal names the state and the command."""
        await subject.hypervisor.start(subject.name)
        with pytest.raises(WrongState) as caught:
            await subject.hypervisor.undefine(subject.name)
        assert caught.value.state == "RUNNING"

    async def test_a_machine_that_is_off_cannot_be_paused(self, subject: Subject) -> None:
        """Nothing is started by accident."""
        with pytest.raises(WrongState):
            await subject.hypervisor.pause(subject.name)
        assert await subject.state() is MachineState.TURNED_OFF

    async def test_autostart_is_kept(self, subject: Subject) -> None:
        """What was set is what is seen."""
        for wanted in (True, False):
            await subject.hypervisor.set_autostart(subject.name, wanted)
            assert (await subject.hypervisor.machine(subject.name)).autostart is wanted

    async def test_the_agents_port_is_added_once(self, subject: Subject) -> None:
        """Live and in the definition, however often it is asked for."""
        for _ in range(2):
            await subject.hypervisor.attach_agent_port(subject.name)
        assert (await subject.hypervisor.machine(subject.name)).has_agent_port
        assert (await subject.hypervisor.definition(subject.name)).count("org.innkeeper.agent.0") == 1


class SavedStateContract:
    """Memory is saved, restored and discarded."""

    async def test_a_saved_machine_runs_again(self, subject: Subject) -> None:
        """A save may be repeated, and a restore uses the saved state up."""
        await subject.hypervisor.start(subject.name)
        for _ in range(2):
            await subject.hypervisor.save(subject.name)
            assert await subject.state() is MachineState.SAVED
        await subject.hypervisor.start(subject.name)
        assert await subject.state() is MachineState.RUNNING
        await subject.hypervisor.turn_off(subject.name)
        assert await subject.state() is MachineState.TURNED_OFF

    async def test_a_machine_saved_while_paused_comes_back_paused(self, subject: Subject) -> None:
        """No instruction runs that did not run before."""
        await subject.hypervisor.start(subject.name)
        await subject.hypervisor.pause(subject.name)
        await subject.hypervisor.save(subject.name)
        await subject.hypervisor.start(subject.name)
        assert await subject.state() is MachineState.PAUSED

    async def test_a_saved_state_can_be_discarded(self, subject: Subject) -> None:
        """Nothing is left to restore, and asking again is no error."""
        await subject.hypervisor.start(subject.name)
        await subject.hypervisor.save(subject.name)
        for _ in range(2):
            await subject.hypervisor.discard_saved_state(subject.name)
        assert await subject.state() is MachineState.TURNED_OFF

    async def test_a_machine_without_a_saved_state_shows_none(self, subject: Subject) -> None:
        """There is no definition inside it."""
        with pytest.raises(WrongState):
            await subject.hypervisor.saved_definition(subject.name)


class UndoDiskContract:
    """Undo disks are put over disks, merged and taken away."""

    async def test_disks_are_image_files(self, subject: Subject) -> None:
        """The suite needs one to put an overlay over."""
        machine = await subject.hypervisor.machine(subject.name)
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
            await subject.hypervisor.add_overlays(subject.name, overlays)
            assert await subject.sources() == overlays
        for target, path in overlays.items():
            assert list(await subject.hypervisor.backing_chain(path))[:2] == [path, bases[target]]
        for _ in range(2):
            await subject.hypervisor.commit_overlays(subject.name, bases)
            assert await subject.sources() == bases
        assert await subject.state() is state
        for path in (*overlays.values(), *overlays.values()):
            await subject.hypervisor.delete_file(path)
            assert not Path(path).exists()

    async def test_overlays_are_dropped_from_a_machine_that_is_off(self, subject: Subject) -> None:
        """The definition names the bases again; a running machine is refused."""
        bases = await subject.sources()
        await subject.hypervisor.add_overlays(subject.name, subject.overlays(bases))
        await subject.hypervisor.start(subject.name)
        with pytest.raises(WrongState):
            await subject.hypervisor.drop_overlays(subject.name, bases)
        await subject.hypervisor.turn_off(subject.name)
        for _ in range(2):
            await subject.hypervisor.drop_overlays(subject.name, bases)
            assert await subject.sources() == bases

    async def test_trying_on_a_saved_machine_leaves_its_saved_state(self, subject: Subject) -> None:
        """It runs on overlays; turned off, it is saved again, and restores onto its own disks."""
        await bring_to(subject, MachineState.RUNNING)
        bases = await subject.sources()
        await subject.hypervisor.save(subject.name)
        overlays = subject.overlays(bases)
        await subject.hypervisor.add_overlays(subject.name, overlays)
        for _ in range(2):
            await subject.hypervisor.restore_keeping_saved_state(subject.name, overlays)
            assert await subject.state() is MachineState.RUNNING
            assert await subject.sources() == overlays
        await subject.hypervisor.turn_off(subject.name)
        assert await subject.state() is MachineState.SAVED
        await subject.hypervisor.drop_overlays(subject.name, bases)
        await subject.hypervisor.start(subject.name)
        assert await subject.state() is MachineState.RUNNING
        assert await subject.sources() == bases


async def bring_to(subject: Subject, state: MachineState) -> None:
    """Bring a machine that is off to a settled state."""
    if state is not MachineState.TURNED_OFF:
        await subject.hypervisor.start(subject.name, paused=state is MachineState.PAUSED)
    assert await subject.state() is state
