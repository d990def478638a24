"""Contract of ``machines.ports.definitions``."""

from __future__ import annotations

import pytest

from innkeeper.errors import MachineNotFound, WrongState
from innkeeper.machines.machine import MachineState
from tests.hypervisor.contracts.subject import Subject


class DefinitionsContract:
    """Definitions are made, renamed, given up and taken in again."""

    async def test_a_running_machine_cannot_be_forgotten(self, subject: Subject) -> None:
        """The refusal names the state and the command."""
        await subject.hypervisor.lifecycle.start(subject.name)
        with pytest.raises(WrongState) as caught:
            await subject.hypervisor.definitions.undefine(subject.name)
        assert caught.value.state == "RUNNING"

    async def test_a_machine_is_renamed_once(self, subject: Subject) -> None:
        """Asked again, nothing happens; running, it is refused."""
        for _ in range(2):
            await subject.hypervisor.definitions.rename(subject.name, "another name")
        assert (await subject.hypervisor.inventory.get("another name")).state is MachineState.TURNED_OFF
        with pytest.raises(MachineNotFound):
            await subject.hypervisor.inventory.get(subject.name)
        await subject.hypervisor.definitions.rename("another name", subject.name)

    async def test_a_machine_is_defined_again_as_it_is(self, subject: Subject) -> None:
        """Its own definition changes nothing, and makes no second machine."""
        definitions = subject.hypervisor.definitions
        before = await subject.hypervisor.inventory.list()
        await definitions.define(await definitions.read(subject.name))
        assert await subject.hypervisor.inventory.list() == before

    async def test_a_released_machine_is_taken_in_again(self, subject: Subject) -> None:
        """Its disks stay meanwhile, and to release it twice is no error."""
        definitions = subject.hypervisor.definitions
        before = await subject.hypervisor.inventory.get(subject.name)
        definition = await definitions.read(subject.name)
        saved_state = str(subject.directory / "kept.save")
        for _ in range(2):
            await definitions.release(subject.name, saved_state)
        with pytest.raises(MachineNotFound):
            await subject.hypervisor.inventory.get(subject.name)
        after = await definitions.take_in(definition, saved_state)
        assert (after.name, after.uuid, after.disks) == (before.name, before.uuid, before.disks)
        assert after.state is MachineState.TURNED_OFF
