"""Contract of ``machines.ports.inventory``."""

from __future__ import annotations

import pytest

from innkeeper.errors import MachineNotFound
from innkeeper.machines.machine import MachineState
from tests.hypervisor.contracts.subject import Subject


class InventoryContract:
    """Machines are found by name and listed."""

    async def test_a_machine_is_found_by_name_and_in_the_list(self, subject: Subject) -> None:
        """Both ways of asking give the same value."""
        one = await subject.hypervisor.inventory.get(subject.name)
        assert one.state is MachineState.TURNED_OFF
        assert one in await subject.hypervisor.inventory.list()
        assert one.host == subject.hypervisor.name

    async def test_an_unknown_machine_is_refused_by_name(self, subject: Subject) -> None:
        """The error carries the name that was asked for."""
        with pytest.raises(MachineNotFound) as caught:
            await subject.hypervisor.inventory.get("nobody")
        assert caught.value.machine == "nobody"
