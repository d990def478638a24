"""List of the machines of a libvirt host."""

from __future__ import annotations

from collections.abc import Sequence

from innkeeper.hypervisor.libvirt.connection import Connection
from innkeeper.hypervisor.libvirt.domains import Domains
from innkeeper.machines.machine import Machine


class LibvirtInventory:
    """The machines of one host (``machines.ports.inventory.Inventory``)."""

    def __init__(self, connection: Connection, domains: Domains) -> None:
        self._connection = connection
        self._domains = domains

    async def list(self) -> Sequence[Machine]:
        """All machines, by bulk calls."""
        return await self._connection.ask(self._domains.machines, "list the machines")

    async def get(self, name: str) -> Machine:
        """One machine. Raises ``MachineNotFound``."""
        return await self._connection.ask(lambda c: self._domains.machine(c, name), "look at", name)
