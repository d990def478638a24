"""Port for facts of a host itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from innkeeper.machines.host_facts import Acceleration, HostFacts, UsbDevice, VirtualNetwork


class HostInformation(Protocol):
    """Facts of one host: its memory, networks, USB devices and acceleration."""

    async def facts(self) -> HostFacts:
        """The host's hardware and software, as far as it can be seen from here."""

    async def memory_free_mib(self) -> int:
        """Memory that machines could still get."""

    async def acceleration(self) -> Acceleration:
        """How new machines of the host run, and why so."""

    async def networks(self) -> Sequence[VirtualNetwork]:
        """The networks that adapters can be attached to; QEMU's own translation is always one."""

    async def usb_devices(self) -> Sequence[UsbDevice]:
        """The host's USB devices, each with the machine that has it."""
