"""Contract of ``machines.ports.agent_ports``."""

from __future__ import annotations

from tests.hypervisor.contracts.subject import Subject


class AgentPortsContract:
    """The task agent's port is added to machines."""

    async def test_the_agents_port_is_added_once(self, subject: Subject) -> None:
        """Live and in the definition, however often it is asked for."""
        for _ in range(2):
            await subject.hypervisor.agent_ports.attach(subject.name)
        assert (await subject.hypervisor.inventory.get(subject.name)).has_agent_port
        assert (await subject.hypervisor.definitions.read(subject.name)).count("org.innkeeper.agent.0") == 1
