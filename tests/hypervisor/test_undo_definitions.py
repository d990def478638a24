"""The definition after an undo point is the one from before it, on real libvirt."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest
from lxml import etree

from innkeeper.errors import MachineUnfit
from innkeeper.machines.ports.host import Host
from tests.guests.machines import EMULATED, TinyMachine
from tests.hypervisor import undo_definitions as ways

pytestmark = pytest.mark.qemu

CARRIED = sorted(ways.ELEMENTS.keys() | ways.ATTRIBUTES.keys())

DefineMachine = Callable[..., Awaitable[TinyMachine]]


@pytest.mark.parametrize(
    ("way", "element"),
    [(ways.off, element) for element in CARRIED]
    + [(ways.live, element) for element in CARRIED if element not in ways.NEVER_STARTED],
)
@pytest.mark.parametrize("end", [ways.keep, ways.roll_back])
async def test_no_element_of_a_disk_is_lost(
    embedded_hypervisor: Host,
    define_machine: DefineMachine,
    tmp_path: Path,
    element: str,
    end: Callable[[Host, TinyMachine], Awaitable[None]],
    way: Callable[..., Awaitable[None]],
) -> None:
    """Kept or rolled back, live or off: what a stranger wrote into the disk is there afterwards."""
    host = embedded_hypervisor
    machine = await define_machine("kept-whole")
    await ways.redefine(host, machine.name, element)
    before = await ways.canonical(host, machine.name)
    await way(host, machine, lambda: end(host, machine), tmp_path / "kept-whole.vda.innkeeper-1.qcow2")
    assert await ways.canonical(host, machine.name) == before


async def test_a_disk_that_was_taken_away_since_is_discarded_and_never_lost(
    embedded_hypervisor: Host, tmp_path: Path
) -> None:
    """A merge is refused with its way out, as the undo disk holds its last content; the others go back."""
    host, name = embedded_hypervisor, "less"
    bases = {target: str(tmp_path / f"{target}.qcow2") for target in ("vda", "vdb")}
    overlays = {target: str(tmp_path / f"{target}.innkeeper-7.qcow2") for target in bases}
    for path in bases.values():
        command = ["qemu-img", "create", "-q", "-f", "qcow2", path, "1M"]
        await asyncio.to_thread(subprocess.run, command, check=True)
    await host.definitions.define(_definition(name, bases))
    try:
        await host.undo_disks.add(name, overlays)
        domain = etree.fromstring((await host.definitions.read(name)).encode())
        devices = domain.find("devices")
        assert devices is not None
        second = devices.findall("disk")[1]
        next(second.iterfind("target")).set("dev", "vdx")
        await host.definitions.define(etree.tostring(domain, encoding="unicode"))
        with pytest.raises(MachineUnfit, match="'vdb' of 'less' is called 'vdx' since"):
            await host.undo_disks.drop(name, bases)
        devices.remove(second)
        await host.definitions.define(etree.tostring(domain, encoding="unicode"))
        with pytest.raises(MachineUnfit, match=r"'vdb' of 'less' was taken from it .*vdb\.innkeeper-7"):
            await host.undo_disks.merge(name, bases)
        for _ in range(2):
            await host.undo_disks.drop(name, bases)
        assert [disk.path for disk in (await host.inventory.get(name)).disks] == [bases["vda"]]
        assert "innkeeper-7" not in await host.definitions.read(name)
    finally:
        await host.definitions.undefine(name)


def _definition(name: str, disks: Mapping[str, str]) -> str:
    return f"""<domain type='{EMULATED}'><name>{name}</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
      <os><type machine='q35'>hvm</type></os><devices>{
        "".join(
            f"<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{path}'/>"
            f"<target dev='{target}' bus='virtio'/></disk>"
            for target, path in disks.items()
        )
    }<controller type='usb' model='none'/><memballoon model='none'/></devices></domain>"""
