"""Definitions are edited as changes ask, and new ones written; the golden files were read by a person."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.errors import MachineError
from innkeeper.hypervisor.domain.editing import edited
from innkeeper.hypervisor.domain.elements import index_of
from innkeeper.hypervisor.domain.extras import read_extras, write_extras
from innkeeper.hypervisor.domain.fields import parse, written
from innkeeper.hypervisor.domain.reading import configuration_of
from innkeeper.hypervisor.domain.template import Platform, template
from innkeeper.machines import change as changes
from innkeeper.machines.change import Change
from innkeeper.machines.configuration import (
    Drive,
    Extras,
    Location,
    ParentRecord,
    UsbAddress,
    drive_name,
)
from innkeeper.machines.new_machine import FirstBoot, NewMachine
from innkeeper.wire.virtual_pc import (
    Attachment,
    DriveBus,
    SerialPortType,
    ShutdownAction,
    UndoAction,
    UndoPointKind,
)

_DEFINITIONS = Path(__file__).with_name("definitions")
_MAC = "52:54:00:00:00:0a"


def expect_golden(text: str, name: str) -> None:
    """Compare with the file that a person has read and found right."""
    path = _DEFINITIONS / name
    wanted = path.read_text()
    difference = difflib.unified_diff(wanted.splitlines(), text.splitlines(), name, "now", lineterm="")
    assert text.strip() == wanted.strip(), "\n".join(difference)


def _drive(target: str, device: str, bus: DriveBus, index: int, path: str = "") -> Drive:
    attachment = Attachment.IMAGE if path else Attachment.NONE
    return Drive(
        target=target, device=device, bus=bus, location=Location.at(index), path=path, attachment=attachment
    )


#: Each golden file's changes, one after the other.
GOLDEN: dict[str, Sequence[Change]] = {
    "edited-hardware.xml": (
        changes.SettingsChanged(
            values={
                "memory_mib": 2048,
                "vcpus": 3,
                "bios_serial_number": "S-1",
                "chassis_asset_tag": "A & B",
                "notes": "Two\nlines.",
                "undoable": True,
                "undo_action": UndoAction.DISCARD,
                "shutdown_action": ShutdownAction.SHUTDOWN,
            },
        ),
        changes.MetadataChanged(
            extras={
                "labels": ("web", "night-a"),
                "parents": (ParentRecord(path="/i/base", size_bytes=1, mtime_ns=2, inode=3),),
            },
        ),
        changes.ValueSet(key="a/b[@id=1]", value=b"\x00\xff"),
        changes.ValueSet(key="c", value=True),
    ),
    "edited-drives.xml": (
        changes.DriveAdded(drive=_drive("vdb", "disk", DriveBus.VIRTIO, 1, "/i/b.img")),
        changes.DriveAdded(drive=_drive("sdc", "cdrom", DriveBus.SATA, 2)),
        changes.DriveAdded(drive=_drive("fda", "floppy", DriveBus.FLOPPY, 0)),
        changes.DriveMoved(target="vda", new_target="vdd", location=Location.at(3)),
        changes.MediumChanged(target="sdc", attachment=Attachment.HOST_DRIVE, path="/dev/sr0"),
        changes.MediumChanged(target="fda", attachment=Attachment.IMAGE, path="/i/a.vfd"),
    ),
    "edited-devices.xml": (
        changes.AdapterAdded(mac=_MAC, network="Lab"),
        changes.AdapterAttached(mac=_MAC, network="bridge:br0"),
        changes.AdapterAdded(mac="52:54:00:00:00:0b"),
        changes.AdapterAttached(mac=_MAC, network=""),
        changes.SerialPortConfigured(id=1, type=SerialPortType.NAMED_PIPE, name="/run/x.sock"),
        changes.SerialPortConfigured(id=2, type=SerialPortType.HOST_PORT, name="/dev/ttyS0"),
        changes.ParallelPortNamed(id=0, name="/dev/parport0"),
        changes.UsbAttached(address=UsbAddress(bus=1, device=4)),
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_changes_leave_all_else_as_it_was(name: str) -> None:
    """What is not asked for stays, to the byte."""
    definition = (_DEFINITIONS / "plain.xml").read_text()
    for change in GOLDEN[name]:
        definition = edited(definition, change)
    expect_golden(definition, name)


def test_what_was_added_can_be_taken_out_again() -> None:
    """And the machine is made as before."""
    before = configuration_of((_DEFINITIONS / "plain.xml").read_text())
    definition = (_DEFINITIONS / "edited-devices.xml").read_text()
    for change in (
        changes.AdapterRemoved(mac=_MAC),
        changes.AdapterRemoved(mac="52:54:00:00:00:0b"),
        changes.SerialPortRemoved(id=2),
        changes.SerialPortRemoved(id=1),
        changes.ParallelPortNamed(id=0, name=""),
        changes.UsbDetached(address=UsbAddress(bus=1, device=4)),
    ):
        definition = edited(definition, change)
    assert configuration_of(definition) == before


@pytest.mark.parametrize(
    "change",
    [
        changes.DriveRemoved(target="vdz"),
        changes.AdapterRemoved(mac="52:54:00:99:99:99"),
        changes.SerialPortRemoved(id=5),
        changes.UsbDetached(address=UsbAddress(bus=9, device=9)),
    ],
)
def test_what_is_not_there_is_not_changed(change: Change) -> None:
    """It is said by name."""
    with pytest.raises(MachineError):
        edited((_DEFINITIONS / "plain.xml").read_text(), change)


@pytest.mark.parametrize(
    ("name", "wanted", "platform"),
    [
        (
            "new-from-image.xml",
            NewMachine(
                name="web-1",
                memory_mib=2048,
                vcpus=2,
                disk_path="/m/web-1/disk.qcow2",
                seed_path="/m/web-1/seed.iso",
                labels=("web",),
                notes="Serves.",
                first_boot=FirstBoot(user="ana"),
            ),
            Platform(domain_type="kvm"),
        ),
        (
            "new-uefi-installer.xml",
            NewMachine(
                name="desk-1",
                dvd="/i/install.iso",
                disk_path="/m/desk-1/disk.qcow2",
                uefi=True,
                network="Lab",
            ),
            Platform(domain_type="qemu"),
        ),
    ],
)
def test_a_new_machine_is_made_as_machines_are_best_made(
    name: str, wanted: NewMachine, platform: Platform
) -> None:
    """q35, virtio, ports for both agents."""
    expect_golden(template(wanted, platform), name)


_KEYS = st.text("abc/", min_size=1, max_size=8)
_TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)
_EXTRAS = st.builds(
    Extras,
    undoable=st.booleans(),
    undo_action=st.sampled_from(UndoAction),
    undo_pending=st.booleans(),
    undo_point=st.sampled_from(UndoPointKind),
    shutdown_action=st.sampled_from(ShutdownAction),
    labels=st.lists(st.text("abc-.", min_size=1, max_size=9), max_size=4).map(tuple),
    ignored=st.lists(_TEXTS.filter(bool), max_size=3).map(tuple),
    values=st.dictionaries(_KEYS, st.one_of(_TEXTS, st.integers(), st.booleans(), st.binary(max_size=9))),
    static_macs=st.frozensets(st.sampled_from(["52:54:00:00:00:01", "52:54:00:00:00:02"])),
    immediate_ports=st.frozensets(st.integers(0, 3)),
    made_here=st.booleans(),
    software_reason=_TEXTS,
)


@given(extras=_EXTRAS)
def test_what_is_noted_is_read_as_it_was_written(extras: Extras) -> None:
    """Whatever it is."""
    domain = parse("<domain><name>x</name></domain>", "domain")
    write_extras(domain, extras)
    assert read_extras(parse(written(domain), "domain")) == extras


@given(
    bus=st.sampled_from([bus for bus in DriveBus if bus is not DriveBus.INVALID]), index=st.integers(0, 700)
)
def test_a_drives_name_says_where_it_is(bus: DriveBus, index: int) -> None:
    """Back and forth."""
    assert index_of(drive_name(bus, Location.at(index))) == index
