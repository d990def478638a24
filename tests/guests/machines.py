"""Define machines that boot the tiny guest."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

from innkeeper.hypervisor.domain.template import domain_type, processor_mode
from innkeeper.machines.machine import MachineState
from innkeeper.machines.ports.host import Host
from innkeeper.wire.states import Accelerator
from tests.guests import tiny
from tests.guests.tiny import TinyGuest

#: The type of domains that run nowhere, or nothing but firmware: any host has it.
EMULATED = domain_type(Accelerator.TCG)
AGENT_PORT = "<channel type='unix'><target type='virtio' name='org.innkeeper.agent.0'/></channel>"
#: The processor, by the type of the domain. The guest's random numbers are ready at once with ``rdrand``.
_PROCESSORS = {
    "kvm": f"<cpu mode='{processor_mode('kvm')}'/>",
    "qemu": """<cpu mode='custom' check='none'>
        <model>qemu64</model>
        <feature policy='require' name='rdrand'/>
      </cpu>""",
}
GUEST_AGENT_PORT = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TinyMachine:
    """A machine of a test, and where its files lie."""

    name: str
    #: The data disk, ``vda``; the guest mounts it at ``/data``.
    disk: Path
    #: What the guest writes to its serial port.
    console: Path


async def define_tiny_machine(
    hypervisor: Host,
    guest: TinyGuest,
    directory: Path,
    name: str,
    *,
    disk_format: str = "qcow2",
    agent_port: bool = True,
    guest_agent_port: bool = True,
    display: bool = False,
) -> TinyMachine:
    """Define a machine, off, with one small data disk of its own."""
    machine = TinyMachine(
        name=name, disk=directory / f"{name}.{disk_format}", console=directory / f"{name}.console"
    )
    await asyncio.to_thread(tiny.data_disk, machine.disk, format=disk_format)
    ports = AGENT_PORT * agent_port + GUEST_AGENT_PORT * guest_agent_port
    definition = tiny_definition(machine, guest, disk_format, ports)
    await hypervisor.definitions.define(with_display(definition, machine) if display else definition)
    return machine


def tiny_definition(machine: TinyMachine, guest: TinyGuest, disk_format: str, ports: str) -> str:
    """The libvirt XML of a machine that boots the tiny guest, with KVM where it starts on it."""
    kind = domain_type(guest.acceleration.accelerator)
    return f"""
    <domain type='{kind}'>
      <name>{machine.name}</name>
      <memory unit='MiB'>160</memory>
      <vcpu>1</vcpu>
      {_PROCESSORS[kind]}
      <os>
        <type machine='q35'>hvm</type>
        <kernel>{guest.kernel}</kernel>
        <initrd>{guest.initrd}</initrd>
        <cmdline>console=ttyS0 quiet panic=-1</cmdline>
      </os>
      <features><acpi/></features>
      <on_poweroff>destroy</on_poweroff>
      <on_reboot>restart</on_reboot>
      <on_crash>destroy</on_crash>
      <devices>
        <disk type='file' device='disk'>
          <driver name='qemu' type='{disk_format}'/>
          <source file='{machine.disk}'/>
          <target dev='vda' bus='virtio'/>
        </disk>
        <controller type='usb' model='none'/>
        <serial type='file'><source path='{machine.console}'/></serial>
        <memballoon model='none'/>
        {ports}
      </devices>
    </domain>"""


def with_display(definition: str, machine: TinyMachine) -> str:
    """The same machine with a screen, a mouse and a serial port that can be opened."""
    silent = f"<serial type='file'><source path='{machine.console}'/></serial>"
    shown = (
        "<serial type='pty'/><video><model type='vga'/></video>"
        "<graphics type='vnc'><listen type='socket'/></graphics><input type='tablet' bus='virtio'/>"
    )
    return definition.replace(silent, shown).replace("quiet panic", "panic")


async def until(hypervisor: Host, name: str, *states: MachineState, timeout: float = 180) -> None:
    """Wait until the machine is in one of these states."""
    async with asyncio.timeout(timeout):
        while (await hypervisor.inventory.get(name)).state not in states:
            await asyncio.sleep(0.1)


async def forget(hypervisor: Host, name: str) -> None:
    """Turn a machine off and forget it."""
    await hypervisor.lifecycle.turn_off(name)
    await hypervisor.definitions.undefine(name)
