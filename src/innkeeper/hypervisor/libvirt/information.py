"""Facts of a libvirt host: memory, networks, USB devices, acceleration."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import libvirt

from innkeeper.hypervisor.domain.fields import Attribute, Element, parse
from innkeeper.hypervisor.domain.reading import USER_NETWORK, configuration_of
from innkeeper.hypervisor.domain.template import MACHINE_TYPE
from innkeeper.hypervisor.libvirt.acceleration import acceleration
from innkeeper.hypervisor.libvirt.connection import Connection
from innkeeper.hypervisor.libvirt.uris import HostUri
from innkeeper.hypervisor.local_facts import local_facts, local_usb_devices
from innkeeper.machines.host_facts import Acceleration, Accelerator, HostFacts, UsbDevice, VirtualNetwork

_MIB = 1024 * 1024
#: The documented identifier of the network that is translated on the host.
SHARED_NETWORK_ID = "01" * 16


class NetworkElement(Element):
    """``<network>``: one virtual network."""

    forward_device = Attribute("forward", "dev")
    bridge = Attribute("bridge", "name")


class LibvirtInformation:
    """Facts of one host (``machines.ports.information.HostInformation``)."""

    def __init__(self, uri: HostUri, connection: Connection, name: str, state_directory: Path) -> None:
        """``state_directory`` is where the answer of the KVM probe is remembered."""
        self._uri = uri
        self._connection = connection
        self._name = name
        self._state_directory = state_directory

    async def facts(self) -> HostFacts:
        """The host's hardware and software; of another computer, what libvirt tells of it."""
        if self._uri.is_local and not self._uri.is_test:
            return await asyncio.to_thread(local_facts, self._name)
        return await self._connection.ask(self._remote_facts, "look at the host")

    async def memory_free_mib(self) -> int:
        """Memory that machines could get: free, or held by caches that give way."""

        def look(connect: libvirt.virConnect) -> int:
            if self._uri.is_test:
                return int(connect.getFreeMemory()) // _MIB
            stats = connect.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS, 0)
            return int(sum(stats.get(kind, 0) for kind in ("free", "buffers", "cached"))) // 1024

        return await self._connection.ask(look, "see the free memory")

    async def networks(self) -> Sequence[VirtualNetwork]:
        """libvirt's networks where its driver has them, and QEMU's own translation."""
        return [
            VirtualNetwork(name=USER_NETWORK, id=SHARED_NETWORK_ID),
            *await self._connection.ask(_networks, "list the networks"),
        ]

    async def usb_devices(self) -> Sequence[UsbDevice]:
        """This computer's USB devices, and which machine has each; of another computer, none is seen."""
        if not self._uri.is_local or self._uri.is_test:
            return ()
        found = await asyncio.to_thread(local_usb_devices)
        if not found:
            return ()
        holders = await self._connection.ask(_usb_holders, "see who has the USB devices")
        return [dataclasses.replace(each, machine=holders.get((each.bus, each.device), "")) for each in found]

    async def acceleration(self) -> Acceleration:
        """How a new machine should run, and why; of another computer, what libvirt offers there."""
        if self._uri.is_test:
            return Acceleration(
                accelerator=Accelerator.NONE, reason="libvirt's test driver simulates machines."
            )
        if self._uri.is_local:
            return await asyncio.to_thread(acceleration, self._state_directory)
        return await self._connection.ask(_offered_acceleration, "see whether the host has KVM")

    def _remote_facts(self, connect: libvirt.virConnect) -> HostFacts:
        _, memory_mib, processors, mhz, _nodes, sockets, *_ = connect.getInfo()
        return HostFacts(
            name=self._name,
            memory_mib=memory_mib,
            memory_available_mib=connect.getFreeMemory() >> 20,
            logical_processors=processors,
            physical_processors=sockets,
            processor_mhz=mhz,
        )


def _offered_acceleration(connect: libvirt.virConnect) -> Acceleration:
    """The acceleration that libvirt on another computer offers; no guest can be tried there from here."""
    try:
        connect.getDomainCapabilities(None, "x86_64", MACHINE_TYPE, "kvm", 0)
    except libvirt.libvirtError as error:
        return Acceleration(
            accelerator=Accelerator.TCG, reason=f"libvirt offers no KVM there: {error.get_error_message()}"
        )
    return Acceleration(accelerator=Accelerator.KVM, reason="libvirt offers it there; no guest was tried.")


def _networks(connect: libvirt.virConnect) -> list[VirtualNetwork]:
    try:
        found = connect.listAllNetworks(0)
    except libvirt.libvirtError as error:
        # The embedded driver has no networks of its own.
        if error.get_error_code() == libvirt.VIR_ERR_NO_SUPPORT:
            return []
        raise
    return sorted((_network(each) for each in found), key=lambda each: each.name)


def _network(network: libvirt.virNetwork) -> VirtualNetwork:
    element = NetworkElement(parse(network.XMLDesc(0), "network"))
    return VirtualNetwork(
        name=network.name(),
        id=network.UUIDString().replace("-", ""),
        host_adapter=element.forward_device,
    )


def _usb_holders(connect: libvirt.virConnect) -> dict[tuple[int, int], str]:
    holders: dict[tuple[int, int], str] = {}
    for domain in connect.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
        for address in configuration_of(domain.XMLDesc(0)).usb:
            holders[(address.bus, address.device)] = domain.name()
    return holders
