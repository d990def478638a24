"""qemu-guest-agent in a libvirt host's guests."""

from __future__ import annotations

from innkeeper.hypervisor.libvirt.guest_agent import GuestAgentCalls
from innkeeper.hypervisor.libvirt.guest_program import QemuGuestProgram


class LibvirtGuestAgents(GuestAgentCalls):
    """qemu-guest-agent in the guests of one host (``machines.ports.guest_agents.QemuGuestAgents``)."""

    def program(self, name: str) -> QemuGuestProgram:
        """The guest's qemu-guest-agent, with the questions that the task agent answers too."""
        return QemuGuestProgram(name, self)
