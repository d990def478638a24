"""Take, keep and roll back undo disks, and compare the definition with what it was."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

from lxml import etree

from innkeeper.hypervisor.domain.undo_note import NAMESPACE
from innkeeper.machines.ports.host import Host
from tests.guests.machines import TinyMachine

#: What strangers' disks carry and libvirt forgets or makes up on the way: where it goes, and what it is.
ELEMENTS: Mapping[str, Sequence[tuple[str, str]]] = {
    "nothing": (),
    "metadata_cache": (
        ("driver", "<metadata_cache><max_size unit='bytes'>1048576</max_size></metadata_cache>"),
    ),
    "source_label": (("source", "<seclabel model='dac' relabel='no'/>"),),
    "declared_end": ((".", "<backingStore/>"),),
    "identity": (
        (".", "<serial>WD-1</serial>"),
        (".", "<alias name='ua-data'/>"),
        (".", "<iotune><total_bytes_sec>104857600</total_bytes_sec></iotune>"),
    ),
}
ATTRIBUTES: Mapping[str, Sequence[tuple[str, str, str]]] = {
    "startup_policy": (("source", "startupPolicy", "optional"),),
    "options": (("driver", "cache", "none"), ("driver", "discard", "unmap")),
}
#: libvirt starts no machine of an ordinary user with a label on its own disk.
NEVER_STARTED = frozenset({"source_label"})


async def redefine(host: Host, name: str, element: str) -> None:
    """Give the machine's disk one of the elements."""
    node = etree.fromstring((await host.definitions.read(name)).encode())
    disk = cast("etree._Element", node.find("devices/disk"))
    for path, text in ELEMENTS.get(element, ()):
        cast("etree._Element", disk.find(path)).append(etree.fromstring(text))
    for path, key, value in ATTRIBUTES.get(element, ()):
        cast("etree._Element", disk.find(path)).set(key, value)
    await host.definitions.define(etree.tostring(node, encoding="unicode"))


async def canonical(host: Host, name: str) -> str:
    """The persistent definition, with its controllers in one order."""
    node = etree.fromstring((await host.definitions.read(name)).encode())
    devices = cast("etree._Element", node.find("devices"))
    controllers = sorted(devices.findall("controller"), key=lambda each: str(etree.canonicalize(each)))
    for each in controllers:
        devices.remove(each)
        devices.append(each)
    return str(etree.canonicalize(node, strip_text=True))


async def while_it_is_on(host: Host, name: str, overlay: Path) -> None:
    """Look at the definition that a machine has on its undo disk."""
    node = etree.fromstring((await host.definitions.read(name)).encode())
    assert [each.get("file") for each in node.findall("devices/disk/source")] == [str(overlay)]
    assert node.find("devices/disk/source[@startupPolicy]") is None
    assert node.find(f"metadata/{{{NAMESPACE}}}disks") is not None


async def off(host: Host, machine: TinyMachine, end: Callable[[], Awaitable[None]], overlay: Path) -> None:
    """Take the undo point of a machine that is off, start it once on it, and end it."""
    await host.undo_disks.add(machine.name, {"vda": str(overlay)})
    await while_it_is_on(host, machine.name, overlay)
    await host.lifecycle.start(machine.name)
    await host.lifecycle.turn_off(machine.name)
    await end()


async def live(host: Host, machine: TinyMachine, end: Callable[[], Awaitable[None]], overlay: Path) -> None:
    """Take the undo point of a machine that runs, and end it."""
    await host.lifecycle.start(machine.name)
    await host.undo_disks.add(machine.name, {"vda": str(overlay)})
    await while_it_is_on(host, machine.name, overlay)
    await end()
    await host.lifecycle.turn_off(machine.name)


async def keep(host: Host, machine: TinyMachine) -> None:
    """Merge."""
    await host.undo_disks.merge(machine.name, {"vda": str(machine.disk)})


async def roll_back(host: Host, machine: TinyMachine) -> None:
    """Turn off, and drop."""
    await host.lifecycle.turn_off(machine.name)
    await host.undo_disks.drop(machine.name, {"vda": str(machine.disk)})
