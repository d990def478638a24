"""Contract of ``machines.ports.usage_meter``."""

from __future__ import annotations

from tests.hypervisor.contracts.subject import Subject


class UsageContract:
    """The use of machines is measured."""

    async def test_a_machine_is_measured_while_it_is_on(self, subject: Subject) -> None:
        """One that is off uses nothing, and is not in the list."""
        host = subject.hypervisor
        assert subject.name not in [each.machine for each in await host.usage.read()]
        await host.lifecycle.start(subject.name)
        (usage,) = [each for each in await host.usage.read() if each.machine == subject.name]
        assert usage.vcpus > 0
        assert usage.cpu_seconds >= 0
