"""Write and read the definitions of simulated machines, in libvirt's XML."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from lxml import etree

from innkeeper.errors import ErrorCode, InvalidArgument
from innkeeper.hypervisor.domain.editing import edited
from innkeeper.hypervisor.domain.extras import read_summary
from innkeeper.hypervisor.domain.fields import child, parse, written
from innkeeper.hypervisor.simulated.machines import SimulatedMachine
from innkeeper.machines.change import Change, Scope
from innkeeper.machines.machine import Disk, DiskKind

_AGENT_PORT = "org.innkeeper.agent.0"
_GUEST_AGENT_PORT = "org.qemu.guest_agent.0"
_SOURCES = {DiskKind.FILE: "file", DiskKind.BLOCK: "dev", DiskKind.NETWORK: "name", DiskKind.VOLUME: "volume"}


def write(machine: SimulatedMachine, disks: Sequence[Disk]) -> str:
    """The machine's definition with these disks."""
    return _with_disks(machine.definition, disks) if machine.definition else _generated(machine, disks)


def write_live(machine: SimulatedMachine) -> str:
    """The definition that the machine runs with; the persistent one where it is off."""
    if not machine.is_on:
        return write(machine, machine.disks)
    definition = machine.live_definition
    return (
        _with_disks(definition, machine.live_disks) if definition else _generated(machine, machine.live_disks)
    )


def change(machine: SimulatedMachine, wanted: Change, scope: Scope) -> None:
    """Make a change to the definitions that it is for."""
    if scope is not Scope.PERSISTENT and machine.is_on:
        machine.live_definition = edited(write_live(machine), wanted)
        machine.live_disks = _disks_of(machine.live_definition)
        machine.freezing_since = read_summary(parse(machine.live_definition, "domain")).freezing_since
    if scope is not Scope.RUNNING:
        adopt(machine, edited(write(machine, machine.disks), wanted))


def adopt(machine: SimulatedMachine, definition: str) -> None:
    """Use a definition as it stands."""
    apply(read(definition), machine)
    machine.definition = definition


def _with_disks(definition: str, disks: Sequence[Disk]) -> str:
    """The definition, with the files behind its disks that they have now."""
    domain = parse(definition, "domain")
    known = {disk.target: disk for disk in disks}
    for element in domain.iterfind("devices/disk"):
        target = element.find("target")
        disk = known.get(str(target.get("dev"))) if target is not None else None
        if disk is not None and disk.kind in _SOURCES and disk.path:
            element.set("type", str(disk.kind))
            child(element, "source").set(_SOURCES[disk.kind], disk.path)
            child(element, "driver").set("type", disk.format)
    return written(domain)


def _disks_of(definition: str) -> list[Disk]:
    return [_read_disk(disk) for disk in parse(definition, "domain").iterfind("devices/disk")]


def _generated(machine: SimulatedMachine, disks: Sequence[Disk]) -> str:
    """A definition from what the simulation knows of the machine."""
    domain = etree.Element("domain", type="fake")
    _text(domain, "name", machine.name)
    _text(domain, "uuid", machine.uuid)
    _text(domain, "memory", str(machine.memory_mib), unit="MiB")
    _text(domain, "vcpu", str(machine.vcpus))
    if machine.nvram_path:
        _text(etree.SubElement(domain, "os"), "nvram", machine.nvram_path)
    devices = etree.SubElement(domain, "devices")
    for disk in disks:
        _write_disk(devices, disk)
    for port, has in (
        (_AGENT_PORT, machine.has_agent_port),
        (_GUEST_AGENT_PORT, machine.has_guest_agent_port),
    ):
        if has:
            channel = etree.SubElement(devices, "channel", type="unix")
            etree.SubElement(channel, "target", type="virtio", name=port)
    if machine.video:
        etree.SubElement(etree.SubElement(devices, "video"), "model", type=machine.video)
        etree.SubElement(devices, "graphics", type="vnc")
    if machine.has_tpm:
        etree.SubElement(etree.SubElement(devices, "tpm"), "backend", type="emulator")
    return etree.tostring(domain, pretty_print=True, encoding="unicode").rstrip("\n")


def read(definition: str) -> SimulatedMachine:
    """The machine that a definition describes. Raises ``InvalidArgument``."""
    domain = parse(definition, "domain")
    name = domain.findtext("name", "")
    if not name:
        raise InvalidArgument(
            "The definition names no machine.",
            code=ErrorCode.VM_E_CONFIG_NO_NAME,
            advice="Add a <name> element.",
        )
    ports = {str(target.get("name")) for target in domain.iterfind("devices/channel/target")}
    memory = domain.find("memory")
    video = domain.find("devices/video/model")
    noted = read_summary(domain)
    return SimulatedMachine(
        name=name,
        uuid=domain.findtext("uuid", "") or str(uuid.uuid5(uuid.NAMESPACE_OID, name)),
        memory_mib=_mib(memory) if memory is not None else 512,
        vcpus=int(domain.findtext("vcpu", "1")),
        disks=[_read_disk(disk) for disk in domain.iterfind("devices/disk")],
        has_agent_port=_AGENT_PORT in ports,
        has_guest_agent_port=_GUEST_AGENT_PORT in ports,
        nvram_path=domain.findtext("os/nvram", ""),
        has_tpm=domain.find("devices/tpm") is not None,
        video="" if video is None else str(video.get("type", "")),
        labels=list(noted.labels),
        ignored=noted.ignored,
        known_parents=list(noted.known_parents),
        undoable=noted.undoable,
        undo_pending=noted.undo_pending,
        undo_exclude=noted.undo_exclude,
        undo_point=noted.undo_point,
        definition=definition,
    )


def apply(wanted: SimulatedMachine, machine: SimulatedMachine) -> None:
    """Change a machine into what its new definition says."""
    machine.memory_mib = wanted.memory_mib
    machine.vcpus = wanted.vcpus
    machine.disks = wanted.disks
    machine.has_agent_port = wanted.has_agent_port
    machine.has_guest_agent_port = wanted.has_guest_agent_port
    machine.nvram_path = wanted.nvram_path
    machine.has_tpm = wanted.has_tpm
    machine.video = wanted.video
    machine.labels = wanted.labels
    machine.ignored = wanted.ignored
    machine.known_parents = wanted.known_parents
    machine.undoable = wanted.undoable
    machine.undo_pending = wanted.undo_pending
    machine.undo_exclude = wanted.undo_exclude
    machine.undo_point = wanted.undo_point
    machine.definition = wanted.definition


def _write_disk(devices: etree._Element, disk: Disk) -> None:
    kind = "file" if disk.kind is DiskKind.OTHER else str(disk.kind)
    element = etree.SubElement(devices, "disk", type=kind, device=disk.device)
    etree.SubElement(element, "driver", name="qemu", type=disk.format)
    if disk.path:
        etree.SubElement(element, "source", {_SOURCES[disk.kind]: disk.path})
    etree.SubElement(element, "target", dev=disk.target)
    for flag, is_set in (
        ("readonly", disk.read_only),
        ("shareable", disk.shared),
        ("transient", disk.transient),
    ):
        if is_set:
            etree.SubElement(element, flag)


def _read_disk(element: etree._Element) -> Disk:
    kind = DiskKind(element.get("type", "file"))
    source, target, driver = element.find("source"), element.find("target"), element.find("driver")
    return Disk(
        target=str(target.get("dev")) if target is not None else "",
        device=element.get("device", "disk"),
        kind=kind if source is not None else DiskKind.OTHER,
        path=(source.get(_SOURCES[kind]) or "") if source is not None else "",
        format=(driver.get("type") or "raw") if driver is not None else "raw",
        read_only=element.find("readonly") is not None,
        shared=element.find("shareable") is not None,
        transient=element.find("transient") is not None,
    )


def _mib(memory: etree._Element) -> int:
    units = {"KiB": 1 / 1024, "MiB": 1, "GiB": 1024}
    return int(float(memory.text or 0) * units.get(memory.get("unit", "KiB"), 1 / 1024))


def _text(parent: etree._Element, tag: str, text: str, **attributes: str) -> None:
    etree.SubElement(parent, tag, attributes).text = text
