"""Read and change libvirt's domain XML as declared fields."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from typing import Self

from lxml import etree

from innkeeper.errors import MachineUnfit
from innkeeper.hypervisor.domain.extras import read_extras, write_extras
from innkeeper.hypervisor.domain.fields import (
    Attribute,
    Element,
    Memory,
    Text,
    Whole,
    child,
    parse,
    remove,
)
from innkeeper.hypervisor.domain.template import processor_mode
from innkeeper.hypervisor.domain.undo_note import overlay_encryption
from innkeeper.hypervisor.libvirt.disk_elements import DiskElement
from innkeeper.hypervisor.libvirt.host_storage import HostDeviceElement, SharedDirectoryElement, host_storage

#: The virtio-serial port of the task agent, and the one of qemu-guest-agent.
AGENT_PORT = "org.innkeeper.agent.0"
GUEST_AGENT_PORT = "org.qemu.guest_agent.0"

_NAMESPACE = "urn:innkeeper:domain:1"
#: Marks a QEMU that was started for a merge and for nothing else.
_MERGE_MARK = f"{{{_NAMESPACE}}}merge"

#: What a QEMU needs that is started for a merge alone; its processor never runs.
_KEPT_FOR_MERGING = frozenset(
    {"name", "uuid", "os", "features", "iothreads", "iothreadids", "devices", "seclabel"}
)
_MERGE_MEMORY_MIB = 64


class ChannelElement(Element):
    """``<channel>``: one serial port between host and guest."""

    target_type = Attribute("target", "type")
    name = Attribute("target", "name")
    socket_path = Attribute("source", "path")
    state = Attribute("target", "state")


class GraphicsElement(Element):
    """``<graphics>``: one display server."""

    type = Attribute(".", "type")
    socket = Attribute(".", "socket")
    listen = Attribute(".", "listen")
    port = Attribute(".", "port", 0, Whole())


class SerialElement(Element):
    """``<serial>`` or ``<console>``: one serial port."""

    type = Attribute(".", "type")


class Definition(Element):
    """A whole domain."""

    type = Attribute(".", "type")
    processor = Attribute("cpu", "mode")
    name = Text("name")
    uuid = Text("uuid")
    vcpus = Text("vcpu", 1, Whole())
    memory_mib = Memory("memory")
    nvram = Text("os/nvram")
    nvram_file = Attribute("os/nvram/source", "file")
    tpm_backend = Attribute("devices/tpm/backend", "type")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a definition. Raises ``InvalidArgument`` where it is no domain."""
        return cls(parse(text, "domain"))

    def text(self) -> str:
        """The definition as libvirt takes it."""
        return etree.tostring(self.node, encoding="unicode")

    def disks(self) -> Iterator[DiskElement]:
        """Every drive, in order."""
        yield from map(DiskElement, self.node.iterfind("devices/disk"))

    def disk(self, target: str) -> DiskElement:
        """The drive of this name. Raises ``MachineUnfit`` where there is none."""
        for disk in self.disks():
            if disk.target == target:
                return disk
        raise MachineUnfit(f"Machine {self.name!r} has no disk {target!r}.", machine=self.name)

    def channel(self, name: str) -> ChannelElement | None:
        """The virtio port of this name."""
        channels = map(ChannelElement, self.node.iterfind("devices/channel"))
        return next((each for each in channels if each.target_type == "virtio" and each.name == name), None)

    def display(self) -> GraphicsElement | None:
        """The first VNC server."""
        servers = map(GraphicsElement, self.node.iterfind("devices/graphics"))
        return next((each for each in servers if each.type == "vnc"), None)

    def video_model(self) -> str:
        """The model of the first video card, or empty."""
        model = self.node.find("devices/video/model")
        return "" if model is None or model.get("type") == "none" else str(model.get("type", ""))

    def console_log(self) -> str:
        """The first file that a serial console is written to, by itself or beside; empty for none."""
        for kind in ("serial", "console"):
            for port in self.node.iterfind(f"devices/{kind}"):
                log, source = port.find("log"), port.find("source")
                if log is not None and log.get("file"):
                    return str(log.get("file"))
                if port.get("type") == "file" and source is not None:
                    return str(source.get("path", ""))
        return ""

    def first_serial(self) -> SerialElement | None:
        """The serial port that a console goes to."""
        node = self.node.find("devices/serial")
        node = self.node.find("devices/console") if node is None else node
        return None if node is None else SerialElement(node)

    def passthrough(self) -> Iterator[str]:
        """The host's devices in it, by name: they cannot be saved."""
        yield from (HostDeviceElement(node).name() for node in self.node.iterfind("devices/hostdev"))
        for interface in self.node.iterfind("devices/interface[@type='hostdev']"):
            yield HostDeviceElement(interface).name()
        for directory in map(SharedDirectoryElement, self.node.iterfind("devices/filesystem")):
            if directory.driver == "virtiofs":
                yield f"virtiofs {directory.tag}"

    def host_storage(self) -> Iterator[str]:
        """Storage of the host that the guest writes to past all disks, for a person."""
        yield from host_storage(self.node)

    def without_disks(self, targets: Collection[str]) -> set[str]:
        """Those of the targets that the machine has no drive for."""
        return {*targets} - {disk.target for disk in self.disks()}

    def has_sources(self, files: Mapping[str, str]) -> bool:
        """Whether each disk (target → file, device or address) takes its writes to exactly that place."""
        return all(self.disk(target).source() == path for target, path in files.items())

    def add_agent_port(self) -> None:
        """Add the task agent's port, at a socket that libvirt places."""
        devices = self.node.find("devices")
        if devices is None:
            devices = etree.SubElement(self.node, "devices")
        devices.append(etree.fromstring(agent_port_xml()))

    @property
    def chosen_acceleration(self) -> bool:
        """Whether Innkeeper wrote the definition, and nobody has chosen another processor since."""
        return read_extras(self.node).made_here and self.processor == processor_mode(self.type)

    def use_software(self, reason: str) -> None:
        """Run it in software emulation, on all that the emulator can do, and note why."""
        self.type = "qemu"
        remove(self.node, "cpu")
        child(self.node, "cpu").set("mode", processor_mode("qemu"))
        write_extras(self.node, dataclasses.replace(read_extras(self.node), software_reason=reason))

    def is_merging(self) -> bool:
        """Whether this QEMU was started for a merge alone."""
        return self.node.find(f"metadata/{_MERGE_MARK}") is not None

    def for_merging(self, targets: Collection[str]) -> Definition:
        """A machine of the same name with these disks and little else, marked as started for a merge.

        Whatever a start could trip over stays out: networks, host devices, firmware, big memory.
        """
        copy = Definition(etree.fromstring(etree.tostring(self.node)))
        _keep_only(copy.node, _KEPT_FOR_MERGING)
        _keep_only(copy.node.find("os"), frozenset({"type"}))
        _keep_only(copy.node.find("devices"), frozenset({"disk", "controller", "emulator"}))
        for drive in [*copy.disks()]:
            devices = drive.node.getparent()
            if devices is not None and drive.target not in targets:
                devices.remove(drive.node)
        etree.SubElement(copy.node, "memory", unit="MiB").text = str(_MERGE_MEMORY_MIB)
        metadata = etree.SubElement(copy.node, "metadata")
        etree.SubElement(metadata, _MERGE_MARK, nsmap={"innkeeper": _NAMESPACE})
        return copy


def _keep_only(node: etree._Element | None, names: frozenset[str]) -> None:
    if node is None:
        return
    node.attrib.pop("firmware", "")
    for each in [*node]:
        if each.tag not in names:
            node.remove(each)


def agent_port_xml() -> str:
    """The task agent's port as a device."""
    return f"<channel type='unix'><source mode='bind'/><target type='virtio' name='{AGENT_PORT}'/></channel>"


def overlays_xml(definition: Definition, overlays: Mapping[str, str]) -> str:
    """The request for one new overlay over each of these disks, and over no other."""
    root = etree.Element("domainsnapshot")
    disks = etree.SubElement(root, "disks")
    for disk in definition.disks():
        node = etree.SubElement(disks, "disk", name=disk.target)
        path = overlays.get(disk.target)
        node.set("snapshot", "no" if path is None else "external")
        if path is not None:
            node.set("type", "file")
            etree.SubElement(node, "driver", type="qcow2")
            # libvirt formats the overlay with what encrypts the image below; else it would lie in the clear.
            etree.SubElement(node, "source", file=path).extend(overlay_encryption(disk.node))
    return etree.tostring(root, encoding="unicode")
