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

    async def test_what_one_machine_wrote_is_asked_of_it_alone(self, subject: Subject) -> None:
        """It is counted while the machine is on, but by libvirt's test driver, and never shrinks."""
        host = subject.hypervisor
        assert await host.usage.written_bytes(subject.name) is None
        await host.lifecycle.start(subject.name)
        before = await host.usage.written_bytes(subject.name)
        (usage,) = [each for each in await host.usage.read() if each.machine == subject.name]
        after = await host.usage.written_bytes(subject.name)
        if host.uri.startswith("test:"):
            assert (before, after) == (None, None)
            return
        assert before is not None
        assert after is not None
        assert before <= usage.disk_written_bytes <= after
