"""A disk says after an undo point what it said before, whatever its definition holds."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from innkeeper.hypervisor.domain.undo_note import (
    NAMESPACE,
    forget_note,
    note_text,
    noted_disks,
    put_back,
    read_note,
    stand_on_overlay,
)
from innkeeper.hypervisor.libvirt.definition import Definition
from tests.guests.machines import EMULATED

OVERLAY = "/undo & more/web-1.vda.innkeeper-7.qcow2"
UUID = "a9f7ab3f-1d2b-4f6c-8b5a-0d1e2f3a4b5c"
SCHEMA = Path("/usr/share/libvirt/schemas/domain.rng")

ENCRYPTION = f"<encryption format='luks'><secret type='passphrase' uuid='{UUID}'/></encryption>"
SECLABELS = (
    "",
    "<seclabel model='dac' relabel='no'/>",
    "<seclabel model='dac'><label>+0:+0</label></seclabel><seclabel model='selinux' relabel='no'/>",
)
CACHE = "<metadata_cache><max_size unit='bytes'>1048576</max_size></metadata_cache>"
#: Each source with the type of its disk: where the content is, and what belongs to it.
SOURCES = {
    "file": "<source file='/images/a &amp; b.qcow2'{policy}>{inside}</source>",
    "block": "<source dev='/dev/vg/web'{policy}>{inside}{reservations}</source>",
    "volume": "<source pool='fast' volume='web.qcow2'{policy}>{inside}</source>",
    "network": "<source protocol='rbd' name='pool/web'><host name='mon' port='6789'/>"
    f"<auth username='u'><secret type='ceph' uuid='{UUID}'/></auth></source>",
}
BACKING = (
    "",
    "<backingStore/>",
    "<backingStore type='file'><format type='qcow2'>" + CACHE + "</format><source file='/images/g.qcow2'/>"
    "<backingStore/></backingStore>",
    "<backingStore type='block'><format type='raw'/><source dev='/dev/vg/golden'/></backingStore>",
)
#: What may follow the target, each there or not, in libvirt's order.
REST = (
    "<iotune><total_bytes_sec>1048576</total_bytes_sec><group_name>slow</group_name></iotune>",
    "<serial>WD-1</serial>",
    "<wwn>5000c500155e1d01</wwn>",
    "<vendor>ACME</vendor>",
    "<product>Disk</product>",
    "<boot order='1' loadparm='2'/>",
    "<alias name='ua-data'/>",
    "<address type='pci' domain='0x0000' bus='0x00' slot='0x07' function='0x0'/>",
)
BEFORE_TARGET = (
    "<geometry cyls='16383' heads='16' secs='63' trans='lba'/>",
    "<blockio logical_block_size='512' physical_block_size='4096'/>",
)
DRIVER = st.fixed_dictionaries(
    {"name": st.just("qemu"), "type": st.sampled_from(["raw", "qcow2"])},
    optional={
        "cache": st.sampled_from(["none", "writeback", "directsync"]),
        "io": st.sampled_from(["native", "threads", "io_uring"]),
        "discard": st.sampled_from(["unmap", "ignore"]),
        "detect_zeroes": st.sampled_from(["off", "unmap"]),
        "error_policy": st.sampled_from(["stop", "report", "enospace"]),
        "rerror_policy": st.sampled_from(["stop", "report"]),
        "copy_on_read": st.sampled_from(["on", "off"]),
        "iothread": st.just("1"),
        "queues": st.sampled_from(["1", "4"]),
        "queue_size": st.just("256"),
    },
)


@st.composite
def disks(draw: st.DrawFn) -> str:
    """A ``<disk>`` as libvirt writes it, with any of the elements that it may have."""
    kind = draw(st.sampled_from(sorted(SOURCES)))
    inside = draw(st.sampled_from(["", ENCRYPTION])) + draw(st.sampled_from(SECLABELS))
    policy = draw(st.sampled_from(["", " startupPolicy='optional'", " startupPolicy='requisite'"]))
    managed = "<reservations managed='yes'/>"
    source = SOURCES[kind].format(
        policy=policy, inside=inside, reservations=draw(st.sampled_from(["", managed]))
    )
    options = draw(DRIVER)
    attributes = "".join(f" {name}='{value}'" for name, value in options.items())
    cached = CACHE if options["type"] == "qcow2" and draw(st.booleans()) else ""
    extra = draw(st.sampled_from(["", " model='virtio'", " snapshot='external'"]))
    return (
        f"<disk type='{kind}' device='disk'{extra}><driver{attributes}>{cached}</driver>{source}"
        f"{draw(st.sampled_from(BACKING))}{_some(draw, BEFORE_TARGET)}"
        f"<target dev='vda' bus='virtio'/>{_some(draw, REST)}</disk>"
    )


def _some(draw: st.DrawFn, parts: tuple[str, ...]) -> str:
    return "".join(part for part in parts if draw(st.booleans()))


def machine(disk: str, metadata: str = "") -> Definition:
    """A machine with this disk and another."""
    other = "<disk type='file' device='disk'><source file='/o'/><target dev='vdb' bus='virtio'/></disk>"
    return Definition.parse(
        f"<domain type='{EMULATED}'><name>web-1</name>{metadata}<memory>65536</memory>"
        f"<os><type>hvm</type></os><devices>{disk}{other}</devices></domain>"
    )


def canonical(definition: Definition) -> str:
    """The definition in the one form that equal ones share."""
    return str(etree.canonicalize(definition.text(), strip_text=True))


def take(definition: Definition) -> None:
    """Note the disk and put the overlay over it, as the note is set by libvirt."""
    wanted = noted_disks(definition.node, {"vda": OVERLAY})
    note = etree.fromstring(note_text(wanted))
    named = etree.Element(f"{{{NAMESPACE}}}disks")
    for each in note:
        copied = etree.SubElement(named, f"{{{NAMESPACE}}}disk")
        copied.attrib.update(each.attrib)
        copied.text = each.text
    metadata = definition.node.find("metadata")
    if metadata is None:
        metadata = etree.Element("metadata")
        definition.node.insert(1, metadata)
    for known in metadata.findall(named.tag):
        metadata.remove(known)
    metadata.append(named)
    stand_on_overlay(definition.disk("vda").node, wanted["vda"])


def give_back(definition: Definition) -> None:
    """Put the disk back, and forget the note."""
    put_back(definition.disk("vda").node, read_note(definition.node)["vda"])
    forget_note(definition.node, ["vda"])


def as_it_is(_disk: etree._Element) -> None:
    """Roll back: nobody has touched the definition."""


def as_libvirt_pivots(disk: etree._Element) -> None:
    """Keep: libvirt wrote the base into the definition, with little of what belongs to it."""
    for stale in [*disk.iterfind("source"), *disk.iterfind("backingStore")]:
        disk.remove(stale)
    disk.set("type", "file")
    disk.append(etree.Element("source", file="/images/a & b.qcow2", startupPolicy="optional"))
    disk.append(etree.Element("backingStore"))


@functools.cache
def schema() -> etree.RelaxNG:
    """What libvirt lets a domain be."""
    return etree.RelaxNG(etree.parse(SCHEMA))


@pytest.mark.parametrize("meanwhile", [as_it_is, as_libvirt_pivots])
@settings(deadline=None)
@given(disk=disks())
def test_a_disk_that_is_kept_or_rolled_back_is_defined_as_before(
    meanwhile: Callable[[etree._Element], None], disk: str
) -> None:
    """Nothing that was in it is gone, and nothing is in it that was not."""
    definition = machine(disk)
    before = canonical(definition)
    take(definition)
    assert definition.disk("vda").file == OVERLAY
    meanwhile(definition.disk("vda").node)
    give_back(definition)
    assert canonical(definition) == before


@settings(deadline=None)
@given(disk=disks())
def test_an_undo_point_that_is_taken_again_keeps_the_first_note(disk: str) -> None:
    """A crash may come between any two steps: what is noted is what was there before the first."""
    definition = machine(disk)
    before = canonical(definition)
    take(definition)
    once = canonical(definition)
    take(definition)
    assert canonical(definition) == once
    give_back(definition)
    assert canonical(definition) == before


@pytest.mark.skipif(not SCHEMA.exists(), reason="libvirt's schema is not installed")
@settings(deadline=None)
@given(disk=disks())
def test_a_disk_on_its_overlay_is_one_that_libvirt_knows(disk: str) -> None:
    """Libvirt's own schema takes what is generated here, and what is made of it."""
    definition = machine(disk)
    schema().assertValid(etree.ElementTree(definition.node))
    take(definition)
    schema().assertValid(etree.ElementTree(definition.node))


def test_what_is_changed_while_the_undo_disk_is_on_stays_changed() -> None:
    """The note brings back where the content is, and no setting that somebody made since."""
    disk = "<disk type='file'><driver name='qemu' type='qcow2'/><source file='/a'/><target dev='vda'/></disk>"
    definition = machine(disk)
    take(definition)
    node = definition.disk("vda").node
    etree.SubElement(node, "serial").text = "NEW"
    driver = node.find("driver")
    assert driver is not None
    driver.set("cache", "none")
    give_back(definition)
    expected = disk.replace("type='qcow2'", "type='qcow2' cache='none'").replace(
        "</disk>", "<serial>NEW</serial></disk>"
    )
    assert canonical(definition) == canonical(machine(expected))


def test_an_overlay_is_never_optional() -> None:
    """With ``startupPolicy`` a machine would start without a disk whose overlay is missing."""
    definition = machine(
        "<disk type='file'><driver name='qemu' type='qcow2'/>"
        "<source file='/a' startupPolicy='optional'/><target dev='vda'/></disk>"
    )
    take(definition)
    place = [*definition.disk("vda").node.iterfind("source"), *definition.disk("vda").node.iter("source")]
    assert not any("startupPolicy" in source.attrib for source in place)


def test_other_metadata_is_left_alone() -> None:
    """The note is an element of its own beside what others keep there."""
    metadata = "<metadata><x:a xmlns:x='urn:x'>1</x:a></metadata>"
    definition = machine("<disk type='file'><source file='/a'/><target dev='vda'/></disk>", metadata)
    before = canonical(definition)
    take(definition)
    give_back(definition)
    assert canonical(definition) == before


def test_an_overlay_over_an_image_that_rbd_encrypts_is_encrypted_by_qemu() -> None:
    """No file can have the ways of RBD's own encryption; the secret is the same."""
    secrets = f"<secret type='passphrase' uuid='{UUID}'/><secret type='passphrase' usage='second'/>"
    definition = machine(
        "<disk type='network'><driver name='qemu' type='raw'/><source protocol='rbd' name='pool/image'>"
        f"<encryption format='luks2' engine='librbd'>{secrets}</encryption></source>"
        "<target dev='vda'/></disk>"
    )
    before = canonical(definition)
    take(definition)
    overlay = definition.node.find("devices/disk/source/encryption")
    assert overlay is not None
    assert etree.tostring(overlay) == (
        f'<encryption format="luks"><secret type="passphrase" uuid="{UUID}"/></encryption>'.encode()
    )
    give_back(definition)
    assert canonical(definition) == before
