"""Whatever libvirt knows about a disk is in its definition after an undo point as it was before it.

The definitions are written by libvirt's own grammar, and are those of its documents; each is defined on real
libvirt, put on an undo disk, and put back. What cannot exist here (RBD, a logical volume) need not: nothing
is started.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from html import unescape
from pathlib import Path

import libvirt
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from lxml import etree

from innkeeper.errors import InvalidArgument, MachineNotFound
from innkeeper.hypervisor.domain.fields import written
from innkeeper.hypervisor.libvirt.definition import Definition
from innkeeper.hypervisor.libvirt.undo_definitions import UndoDefinitions
from innkeeper.hypervisor.libvirt.undo_disks import LibvirtUndoDisks
from innkeeper.machines.machine import Disk, DiskKind
from innkeeper.machines.ports.host import Host
from tests.guests.machines import EMULATED
from tests.hypervisor import generated_disks
from tests.hypervisor.generated_disks import parts

DOCUMENTS = Path("/usr/share/doc/libvirt-doc/html")
pytestmark = [
    pytest.mark.qemu,
    pytest.mark.skipif(not generated_disks.SCHEMA.exists(), reason="libvirt's grammar is not installed"),
]

_NAME = "every-disk"
_UUID = "5a0c1c53-60b4-4a32-b9f9-3b0f2d3c1e11"
_PERSISTENT = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
_OVERLAY = "/undo & more/'every-disk'.innkeeper-7.qcow2"
#: How many disks are tried for a part until libvirt takes one.
_TRIES = 15
#: How many other parts are tried with one.
_TOGETHER = 3
#: What the grammar knows and this libvirt never takes in a disk of a PC, by the end of its path.
_REFUSED = re.compile(
    r"encryption/(cipher|ivgen)(/@\w+)?$"  # only for making an image
    r"|address/@(base|cssid|devno|ssid|iobase|irq|reg|port)$|address/zpci/@\w+$"  # other buses and computers
    r"|reservations/source(/.*)?$"  # only for a device that is passed through
    r"|geometry/@trans$|source/@dir$|source/@path$|^disk/source/@startupPolicy$"
)


@dataclasses.dataclass(frozen=True)
class Taken:
    """A disk that libvirt has taken, and the definition that it wrote with it."""

    disk: str
    definition: Definition


@dataclasses.dataclass(frozen=True)
class Libvirt:
    """A host where definitions are put on undo disks, and back; nothing is started and no file is made."""

    connect: libvirt.virConnect
    definitions: UndoDefinitions

    def take(self, disk: str) -> Taken | None:
        """Define a machine with this disk and another; ``None`` where libvirt takes it not, or not again."""
        for kind in ("q35", "pc"):  # only an old PC has the old disks
            try:
                return Taken(disk, self.again(_read(self.connect.defineXML(_machine(kind, disk)))))
            except (libvirt.libvirtError, InvalidArgument):
                continue
        return None

    def again(self, definition: Definition) -> Definition:
        """Put a definition back on the host."""
        return _read(self.connect.defineXML(definition.text()))

    def changed_by_an_undo_point(self, before: Definition) -> str:
        """Put the first disk on an undo disk and back; says what is not as before, or nothing."""
        domain = self.connect.lookupByName(_NAME)
        disk = next(before.disks())
        if not _may_have_an_undo_disk(disk.value()):
            return ""
        try:
            self.definitions.note(domain, {disk.target: _OVERLAY})
            self.definitions.use_overlays(self.connect, domain, {disk.target: _OVERLAY})
        except libvirt.libvirtError as error:
            return f"libvirt refuses the undo disk ({error}) of {written(disk.node)}"
        protected = _read(domain)
        if protected.disk(disk.target).file != _OVERLAY:
            return f"{disk.target} is not on its undo disk: {written(protected.disk(disk.target).node)}"
        if protected.node.find("devices/disk/source[@startupPolicy]") is not None:
            return f"{disk.target} may be missing at a start: {written(protected.disk(disk.target).node)}"
        self.definitions.put_back(self.connect, domain, {disk.target: disk.source()})
        after = _read(domain)
        return "" if canonical(after) == canonical(before) else f"{before.text()}\n\n{after.text()}"


def _machine(kind: str, disk: str) -> str:
    return f"""
    <domain type='{EMULATED}'>
      <name>{_NAME}</name><uuid>{_UUID}</uuid>
      <memory>65536</memory><memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>
      <iothreads>1</iothreads>
      <os><type machine='{kind}'>hvm</type></os>
      <devices>
        {disk}
        <disk type='file' device='disk'><source file='/other'/><target dev='sdz' bus='scsi'/></disk>
        <controller type='scsi' model='virtio-scsi'/>
      </devices>
    </domain>"""


def _may_have_an_undo_disk(disk: Disk) -> bool:
    """Whether an undo point may cover it; others are refused by name before anything is touched."""
    escaping = disk.read_only or disk.shared or disk.transient or disk.sliced
    return disk.device == "disk" and disk.kind is not DiskKind.OTHER and not escaping


def _read(domain: libvirt.virDomain) -> Definition:
    return Definition.parse(domain.XMLDesc(_PERSISTENT))


def canonical(definition: Definition) -> str:
    """The definition in the one form that equal ones share; the order of controllers is left out."""
    node = etree.fromstring(definition.text())
    devices = node.find("devices")
    assert devices is not None
    for each in sorted(devices.findall("controller"), key=lambda each: str(etree.canonicalize(each))):
        devices.append(each)
    return str(etree.canonicalize(node, strip_text=True))


OnLibvirt = Callable[[Callable[[Libvirt], None]], Awaitable[None]]


@pytest.fixture
async def on_libvirt(embedded_hypervisor: Host) -> AsyncIterator[OnLibvirt]:
    """Do something with libvirt, in a thread where that may take its time."""
    undo_disks = embedded_hypervisor.undo_disks
    assert isinstance(undo_disks, LibvirtUndoDisks)

    async def run(work: Callable[[Libvirt], None]) -> None:
        def call(connect: libvirt.virConnect) -> None:
            work(Libvirt(connect, undo_disks._definitions))

        await undo_disks._connection.command(call, "try the definitions of", _NAME)

    yield run
    with contextlib.suppress(MachineNotFound):
        await embedded_hypervisor.definitions.undefine(_NAME)


async def test_every_part_that_the_grammar_knows_is_kept(on_libvirt: OnLibvirt) -> None:
    """Nothing that libvirt takes in a disk's definition is lost, and nothing is added."""

    def each_part(host: Libvirt) -> None:
        faults, missing = [], []
        left = dict.fromkeys(parts())
        while left:
            part = next(iter(left))
            taken = next(filter(None, (host.take(disk) for disk in _disks_with(part, left))), None)
            if taken is None:
                missing.append(part)
                left.pop(part)
                continue
            for each in {part, *generated_disks.parts_of(taken.disk)}:
                left.pop(each, None)
            faults.append(host.changed_by_an_undo_point(taken.definition))
        assert [wrong for wrong in faults if wrong] == []
        assert [part for part in missing if not _REFUSED.search(part)] == []

    await on_libvirt(each_part)


def _disks_with(part: str, others: Iterable[str]) -> Iterator[str]:
    """Disks with this part: with some of the others, too, and then alone."""
    for number in range(_TRIES):
        chance = random.Random(f"{part} {number}")
        more = chance.sample([*others], min(_TOGETHER, len([*others]))) if number < _TRIES // 3 else []
        yield generated_disks.disk(frozenset({part, *more}), chance)


async def test_whatever_stands_together_in_a_disk_is_kept(on_libvirt: OnLibvirt) -> None:
    """Any parts, together as far as the grammar and libvirt take them."""

    def any_parts(host: Libvirt) -> None:
        @settings(deadline=None, suppress_health_check=list(HealthCheck))
        @given(wanted=st.frozensets(st.sampled_from(parts()), max_size=12), seed=st.integers(0, 1 << 32))
        def kept(wanted: frozenset[str], seed: int) -> None:
            taken = host.take(generated_disks.disk(wanted, random.Random(seed)))
            assume(taken is not None)
            assert taken is not None
            assert host.changed_by_an_undo_point(taken.definition) == ""

        kept()

    await on_libvirt(any_parts)


@pytest.mark.skipif(not DOCUMENTS.is_dir(), reason="libvirt's documents are not installed")
async def test_the_examples_of_libvirts_own_documents_are_kept(on_libvirt: OnLibvirt) -> None:
    """Every ``<disk>`` in them that libvirt takes."""

    def each_example(host: Libvirt) -> None:
        taken = [taken for example in _examples() if (taken := host.take(example)) is not None]
        faults = [host.changed_by_an_undo_point(host.again(each.definition)) for each in taken]
        assert [wrong for wrong in faults if wrong] == []
        assert len(taken) > 30

    await on_libvirt(each_example)


@functools.cache
def _examples() -> Sequence[str]:
    """The disks in libvirt's documents, each by itself."""
    found = []
    for document in sorted(DOCUMENTS.glob("*.html")):
        for block in re.findall(r"<pre[^>]*>(.*?)</pre>", document.read_text(errors="replace"), re.DOTALL):
            text = unescape(re.sub(r"<[^>]*>", "", block))
            found += re.findall(r"<disk [^>]*[^/]>.*?</disk>", text, re.DOTALL)
    return found
