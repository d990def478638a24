"""Add, remove and attach network adapters of machines."""

from __future__ import annotations

import re
import secrets
from typing import Final

from innkeeper.errors import ErrorCode, InvalidArgument, MachineError
from innkeeper.machines import change as changes
from innkeeper.machines.change import Scope
from innkeeper.machines.configuration import Adapter, Configuration
from innkeeper.machines.devices import Devices, full
from innkeeper.machines.host_facts import VirtualNetwork
from innkeeper.machines.machine import Machine
from innkeeper.machines.ports.host import Host

MAX_ADAPTERS: Final = 8

_MAC: Final = re.compile(r"[0-9A-Fa-f]{2}([:-]?[0-9A-Fa-f]{2}){5}\Z")


class Adapters(Devices):
    """The network adapters of all machines."""

    async def networks(self, host_name: str) -> list[VirtualNetwork]:
        """The networks of a host."""
        return list(await self.machines.hosts[host_name].information.networks())

    async def add_adapter(
        self, name: str, network: str = "", *, mac: str = "", model: str = "virtio"
    ) -> Adapter:
        """Add a network adapter (``AddNetworkAdapter``), unplugged where no network is named."""
        machine, host, made = await self.off(name, "take a network adapter")
        if len(made.adapters) >= MAX_ADAPTERS:
            raise full(machine, MAX_ADAPTERS, "network adapters")
        if network:
            network = await self._network(host, network)
        wanted = checked_mac(mac) if mac else _new_mac(made)
        _refuse_same_mac(machine, made, wanted)
        await host.configurations.change(
            machine.name, changes.AdapterAdded(mac=wanted, network=network, model=model)
        )
        if mac:
            await self._set_static(host, machine.name, made, wanted, add=True)
        return _adapter_by_mac(machine, await host.configurations.read(machine.name), wanted)

    async def remove_adapter(self, name: str, adapter_id: int) -> None:
        """Take a network adapter out (``RemoveNetworkAdapter``)."""
        machine, host, made = await self.off(name, "lose a network adapter")
        adapter = _adapter(machine, made, adapter_id)
        await host.configurations.change(machine.name, changes.AdapterRemoved(mac=adapter.mac))

    async def attach_adapter(self, name: str, adapter_id: int, network: str) -> Adapter:
        """Attach it to a network (``AttachToVirtualNetwork``), also while the machine runs."""
        machine, host, made = await self.any(name)
        adapter = _adapter(machine, made, adapter_id)
        network = await self._network(host, network)
        await host.configurations.change(
            machine.name, changes.AdapterAttached(mac=adapter.mac, network=network), Scope.BOTH
        )
        return _adapter(machine, await host.configurations.read(machine.name), adapter_id)

    async def detach_adapter(self, name: str, adapter_id: int) -> Adapter:
        """Unplug a network adapter (``DetachFromVirtualNetwork``), also while the machine runs."""
        machine, host, made = await self.any(name)
        adapter = _adapter(machine, made, adapter_id)
        await host.configurations.change(
            machine.name, changes.AdapterAttached(mac=adapter.mac, network=""), Scope.BOTH
        )
        return _adapter(machine, await host.configurations.read(machine.name), adapter_id)

    async def set_mac(self, name: str, adapter_id: int, mac: str) -> Adapter:
        """Change an adapter's Ethernet address (``EthernetAddress``): off only, not while it is dynamic."""
        wanted = checked_mac(mac)
        machine, host, made = await self.off(name, "change an Ethernet address")
        adapter = _adapter(machine, made, adapter_id)
        if adapter.dynamic:
            raise MachineError(
                f"The address of network adapter {adapter_id} of {machine.title} is made by Innkeeper.",
                machine=machine.title,
                code=ErrorCode.VM_E_CANT_SET_DYNAMIC_MAC_ADDRESS,
                advice="Set is_ethernet_address_dynamic to False first.",
            )
        if wanted != adapter.mac:
            _refuse_same_mac(machine, made, wanted)
            await host.configurations.change(
                machine.name, changes.AdapterAddressed(mac=adapter.mac, new_mac=wanted)
            )
            await self._set_static(host, machine.name, made, adapter.mac, add=False)
            made = await host.configurations.read(machine.name)
            await self._set_static(host, machine.name, made, wanted, add=True)
        return _adapter(machine, await host.configurations.read(machine.name), adapter_id)

    async def set_dynamic(self, name: str, adapter_id: int, dynamic: bool) -> Adapter:
        """Set whether Innkeeper makes an adapter's address (``IsEthernetAddressDynamic``)."""
        machine, host, made = await self.any(name)
        adapter = _adapter(machine, made, adapter_id)
        if adapter.dynamic != dynamic:
            await self._set_static(host, machine.name, made, adapter.mac, add=not dynamic)
        return _adapter(machine, await host.configurations.read(machine.name), adapter_id)

    # Machinery

    async def _network(self, host: Host, network: str) -> str:
        """The network of this name, whatever the case of its letters."""
        known = await host.information.networks()
        for each in known:
            if each.name.casefold() == network.casefold():
                return each.name
        raise InvalidArgument(
            f"{host.name} has no network “{network}”.",
            code=ErrorCode.VM_E_INVALID_VIRTUAL_NETWORK_ID,
            advice=f"It has: {', '.join(each.name for each in known)}.",
        )

    async def _set_static(self, host: Host, name: str, made: Configuration, mac: str, *, add: bool) -> None:
        static = made.extras.static_macs | {mac} if add else made.extras.static_macs - {mac}
        await host.configurations.change(
            name, changes.MetadataChanged(extras={"static_macs": static}), Scope.BOTH
        )


def checked_mac(mac: str) -> str:
    """An Ethernet address in lower case with colons. Raises ``InvalidArgument``."""
    digits = re.sub("[:-]", "", mac).lower()
    if _MAC.match(mac) is None:
        raise InvalidArgument(
            f"“{mac[:40]}” is not an Ethernet address.", advice="Such as 52:54:00:12:34:56, or with hyphens."
        )
    if int(digits[:2], 16) & 1 or not int(digits, 16):
        raise InvalidArgument(
            f"{mac} is the address of no single adapter.", advice="Make its first byte even."
        )
    return ":".join(digits[at : at + 2] for at in range(0, 12, 2))


def _new_mac(made: Configuration) -> str:
    taken = {adapter.mac for adapter in made.adapters}
    while (mac := ":".join(f"{byte:02x}" for byte in b"\x52\x54\x00" + secrets.token_bytes(3))) in taken:
        pass
    return mac


def _refuse_same_mac(machine: Machine, made: Configuration, mac: str) -> None:
    if any(adapter.mac == mac for adapter in made.adapters):
        raise InvalidArgument(f"{machine.title} has a network adapter {mac} already.")


def _adapter(machine: Machine, made: Configuration, adapter_id: int) -> Adapter:
    return _only(machine, [each for each in made.adapters if each.id == adapter_id], str(adapter_id), made)


def _adapter_by_mac(machine: Machine, made: Configuration, mac: str) -> Adapter:
    return _only(machine, [each for each in made.adapters if each.mac == mac], mac, made)


def _only(machine: Machine, found: list[Adapter], wanted: str, made: Configuration) -> Adapter:
    if not found:
        raise InvalidArgument(
            f"{machine.title} has no network adapter {wanted}.",
            advice=f"It has: {', '.join(str(each.id) for each in made.adapters) or 'none'}.",
        )
    return found[0]
