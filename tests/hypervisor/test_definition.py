"""libvirt's domain XML, read and changed as declared fields."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest

from innkeeper.errors import InvalidArgument, MachineUnfit
from innkeeper.hypervisor.libvirt.definition import (
    AGENT_PORT,
    GUEST_AGENT_PORT,
    Definition,
    overlays_xml,
)
from innkeeper.machines.machine import DiskKind

_DEFINITIONS = Path(__file__).with_name("definitions")


@pytest.fixture
def rich() -> Definition:
    """A definition with a bit of everything."""
    return Definition.parse((_DEFINITIONS / "rich.xml").read_text())


def expect_golden(text: str, name: str) -> None:
    """Compare with the file that a person has read and found right."""
    wanted = (_DEFINITIONS / name).read_text()
    difference = difflib.unified_diff(wanted.splitlines(), text.splitlines(), name, "now", lineterm="")
    assert text.strip() == wanted.strip(), "\n".join(difference)


def test_every_kind_of_disk_is_told_apart(rich: Definition) -> None:
    """What is behind it decides whether an undo disk can be put over it."""
    disks = {disk.target: disk for disk in (each.value() for each in rich.disks())}
    assert {target: disk.kind for target, disk in disks.items()} == {
        "vda": DiskKind.FILE,
        "vdb": DiskKind.BLOCK,
        "vdc": DiskKind.NETWORK,
        "vdd": DiskKind.VOLUME,
        "sda": DiskKind.OTHER,
    }
    assert [disks[target].path for target in ("vda", "vdb", "vdc", "vdd", "sda")] == [
        "/images/rich.undo",
        "/dev/vg/data",
        "rbd:pool/image",
        "default/more.qcow2",
        "",
    ]
    assert [target for target, disk in disks.items() if disk.shared] == ["vdb"]
    assert [target for target, disk in disks.items() if disk.transient] == ["vdc"]
    assert [target for target, disk in disks.items() if disk.read_only] == ["sda"]
    assert disks["sda"].device == "cdrom"


def test_what_cannot_be_saved_is_named(rich: Definition) -> None:
    """Passed-through devices, virtual functions and shared directories."""
    assert sorted(rich.passthrough()) == [
        "pci 0000:03:00.0",
        "pci 0000:05:10.2",
        "usb 0x1234:0xabcd",
        "virtiofs share",
    ]


def test_size_firmware_and_ports_are_read(rich: Definition) -> None:
    """In the house's units."""
    assert rich.memory_mib == 2048
    assert rich.vcpus == 4
    assert rich.nvram == "/var/lib/libvirt/qemu/nvram/rich_VARS.fd"
    assert rich.tpm_backend == "emulator"
    assert rich.channel(AGENT_PORT) is None
    assert rich.channel(GUEST_AGENT_PORT) is not None


@pytest.mark.parametrize(
    ("memory", "mib"),
    [
        ("<memory>1048576</memory>", 1024),
        ("<memory unit='MB'>100</memory>", 95),
        ("<memory unit='b'>1</memory>", 0),
    ],
)
def test_memory_is_read_in_any_unit(memory: str, mib: int) -> None:
    """libvirt's default is KiB."""
    assert Definition.parse(f"<domain>{memory}</domain>").memory_mib == mib


def test_the_chain_below_a_disk_is_read(rich: Definition) -> None:
    """With the format that libvirt has recorded."""
    assert list(rich.disk("vda").backing()) == [("/images/rich.raw", "raw")]


def test_another_source_leaves_no_old_chain_behind(rich: Definition) -> None:
    """An empty backing store would hide the base from a later merge."""
    rich.disk("vda").use_file("/images/other.qcow2", "qcow2")
    assert list(rich.disk("vda").backing()) == []
    assert rich.has_sources({"vda": "/images/other.qcow2"})
    assert "backingStore" not in rich.text()
    assert 'discard="unmap"' in rich.text()


def test_a_merge_starts_a_machine_with_its_disks_and_little_else(rich: Definition) -> None:
    """Nothing stays that a start could trip over, and the mark tells it from the machine itself."""
    merging = rich.for_merging(["vda"])
    assert merging.is_merging()
    assert not rich.is_merging()
    expect_golden(merging.text(), "rich-merging.xml")


def test_an_overlay_is_asked_for_over_the_named_disks_alone(rich: Definition) -> None:
    """libvirt would put one over every disk that is not mentioned."""
    expect_golden(overlays_xml(rich, {"vda": "/images/new.undo"}), "rich-overlays.xml")


def test_the_agents_port_is_added(rich: Definition) -> None:
    """Where libvirt wants it."""
    rich.add_agent_port()
    port = rich.channel(AGENT_PORT)
    assert port is not None
    assert port.target_type == "virtio"


def test_an_unknown_disk_is_refused_by_name(rich: Definition) -> None:
    """The error names the machine and the disk."""
    with pytest.raises(MachineUnfit, match="'rich' has no disk 'vdz'"):
        rich.disk("vdz")


@pytest.mark.parametrize(
    "text", ["", "<domain>", "<network/>", "<!DOCTYPE d [<!ENTITY e 'x'>]><network>&e;</network>"]
)
def test_what_is_no_domain_is_refused(text: str) -> None:
    """With a sentence, and nothing is loaded from outside."""
    with pytest.raises(InvalidArgument):
        Definition.parse(text)


@pytest.mark.parametrize(
    "disk",
    [
        "<source file='/a'><encryption format='luks'/></source>",
        "<source file='/a'/><encryption format='luks'/>",
    ],
)
def test_an_encrypted_image_is_known_as_one(disk: str) -> None:
    """By either of the two places in which libvirt lets it be declared."""
    text = f"<domain><devices><disk type='file'>{disk}<target dev='vda'/></disk></devices></domain>"
    assert Definition.parse(text).disk("vda").value().encrypted


def test_storage_past_all_disks_is_named_where_it_takes_writes() -> None:
    """A roll back does not undo what a guest writes to a folder or a device of its host."""
    definition = Definition.parse(
        """<domain><name>web</name><devices>
        <filesystem type='mount'><source dir='/srv/home'/><target dir='home'/></filesystem>
        <filesystem type='mount'><source dir='/srv/ro'/><target dir='ro'/><readonly/></filesystem>
        <hostdev mode='subsystem' type='scsi'><source><adapter name='scsi_host0'/>
          <address bus='0' target='1' unit='2'/></source></hostdev>
        <hostdev mode='subsystem' type='pci'><source><address bus='0x01' slot='0x00'/></source></hostdev>
        </devices></domain>"""
    )
    assert list(definition.host_storage()) == [
        "the folder /srv/home",
        "the SCSI device 0:1:2",
        "the device pci 0000:01:00",
    ]
