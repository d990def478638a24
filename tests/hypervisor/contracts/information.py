"""Contract of ``machines.ports.information``."""

from __future__ import annotations

from tests.hypervisor.contracts.subject import Subject


class InformationContract:
    """A host is described."""

    async def test_the_host_is_described(self, subject: Subject) -> None:
        """With memory and processors, and the network that every host has."""
        facts = await subject.hypervisor.information.facts()
        assert facts.memory_mib > 0
        assert facts.logical_processors > 0
        assert "user" in [network.name for network in await subject.hypervisor.information.networks()]
        assert isinstance(list(await subject.hypervisor.information.usb_devices()), list)

    async def test_memory_is_left_and_the_way_to_run_is_known(self, subject: Subject) -> None:
        """With a reason for people."""
        information = subject.hypervisor.information
        assert await information.memory_free_mib() >= 0
        assert (await information.acceleration()).reason
