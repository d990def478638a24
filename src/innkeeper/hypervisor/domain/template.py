"""Write the definition of a new machine, as machines are best made on today's QEMU."""

from __future__ import annotations

import dataclasses

from lxml import etree

from innkeeper.hypervisor.domain.extras import write_extras
from innkeeper.hypervisor.domain.fields import child, written
from innkeeper.hypervisor.domain.reading import USER_NETWORK
from innkeeper.machines.configuration import Extras
from innkeeper.machines.host_facts import Accelerator
from innkeeper.machines.new_machine import NewMachine

#: The chipset of new machines.
MACHINE_TYPE = "q35"
#: Ports to the guest: Innkeeper's task agent, and qemu-guest-agent.
_PORTS = ("org.innkeeper.agent.0", "org.qemu.guest_agent.0")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Platform:
    """Features of the host for a new machine."""

    #: ``kvm``, ``qemu``, ``test`` or ``fake``.
    domain_type: str
    #: Whether the definition names what only QEMU has.
    is_qemu: bool = True


def domain_type(accelerator: Accelerator) -> str:
    """The ``<domain type>`` of machines that run so."""
    return "kvm" if accelerator is Accelerator.KVM else "qemu"


def processor_mode(domain_type: str) -> str:
    """The ``<cpu mode>`` of new machines: all that the host, or the emulator, can do.

    Machines are made for the host that they are made on.
    """
    return "host-passthrough" if domain_type == "kvm" else "maximum"


def template(wanted: NewMachine, platform: Platform) -> str:
    """A q35 machine with virtio devices, two ports to its guest, a screen, and a source of random numbers."""
    domain = etree.Element("domain", type=platform.domain_type)
    _text(domain, "name", wanted.name)
    write_extras(domain, Extras(labels=wanted.labels, made_here=True))
    if wanted.notes:
        _text(domain, "description", wanted.notes)
    _text(domain, "memory", str(wanted.memory_mib), unit="MiB")
    _text(domain, "vcpu", str(wanted.vcpus))
    _firmware(domain, wanted, platform)
    features = etree.SubElement(domain, "features")
    for feature in ("acpi", "apic"):
        etree.SubElement(features, feature)
    if platform.is_qemu:
        etree.SubElement(domain, "cpu", mode=processor_mode(platform.domain_type))
    etree.SubElement(domain, "clock", offset="utc")
    for event, action in (("poweroff", "destroy"), ("reboot", "restart"), ("crash", "destroy")):
        _text(domain, f"on_{event}", action)
    _devices(etree.SubElement(domain, "devices"), wanted)
    etree.indent(domain)
    return written(domain) + "\n"


def _firmware(domain: etree._Element, wanted: NewMachine, platform: Platform) -> None:
    system = etree.SubElement(domain, "os")
    if wanted.uefi:
        system.set("firmware", "efi")
    kind = etree.SubElement(system, "type")
    kind.text = "hvm"
    if platform.is_qemu:
        kind.set("arch", "x86_64")
        kind.set("machine", MACHINE_TYPE)
    # The first start of a new machine is from its installer; later ones find a disk that boots.
    for device in ("hd", "cdrom"):
        etree.SubElement(system, "boot", dev=device)


def _devices(devices: etree._Element, wanted: NewMachine) -> None:
    if wanted.disk_path:
        disk = _drive(devices, "disk", wanted.disk_path, "vda", "virtio")
        driver = child(disk, "driver")
        driver.set("type", "qcow2")
        driver.set("discard", "unmap")
    for target, path in (("sda", wanted.dvd), ("sdb", wanted.seed_path)):
        if path:
            dvd = _drive(devices, "cdrom", path, target, "sata")
            child(dvd, "driver").set("type", "raw")
            etree.SubElement(dvd, "readonly")
    _interface(devices, wanted.network)
    for port in _PORTS:
        channel = etree.SubElement(devices, "channel", type="unix")
        etree.SubElement(channel, "source", mode="bind")
        etree.SubElement(channel, "target", type="virtio", name=port)
    etree.SubElement(devices, "serial", type="pty")
    etree.SubElement(devices, "input", type="tablet", bus="usb")
    graphics = etree.SubElement(devices, "graphics", type="vnc")
    etree.SubElement(graphics, "listen", type="socket")
    etree.SubElement(etree.SubElement(devices, "video"), "model", type="vga")
    random = etree.SubElement(devices, "rng", model="virtio")
    etree.SubElement(random, "backend", model="random").text = "/dev/urandom"
    etree.SubElement(devices, "memballoon", model="virtio")


def _drive(devices: etree._Element, device: str, path: str, target: str, bus: str) -> etree._Element:
    drive = etree.SubElement(devices, "disk", type="file", device=device)
    etree.SubElement(drive, "driver", name="qemu")
    etree.SubElement(drive, "source", file=path)
    etree.SubElement(drive, "target", dev=target, bus=bus)
    return drive


def _interface(devices: etree._Element, network: str) -> None:
    if not network:
        return
    kind = "user" if network == USER_NETWORK else "network"
    interface = etree.SubElement(devices, "interface", type=kind)
    if kind == "network":
        etree.SubElement(interface, "source", network=network)
    etree.SubElement(interface, "model", type="virtio")


def _text(parent: etree._Element, tag: str, text: str, **attributes: str) -> None:
    etree.SubElement(parent, tag, attributes).text = text
