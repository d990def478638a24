"""What a guest can write to past its undo disks is said, by the definition."""

from __future__ import annotations

import pytest

from innkeeper.hypervisor.libvirt.definition import Definition

_QEMU = "xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'"
_PMEM = (
    "<memory model='nvdimm' {access}><source><path>/dev/pmem0</path></source><target>{more}</target></memory>"
)
_USB = "<source><vendor id='0x1234'/><product id='0x5678'/></source>"
_PCI = "<source><address domain='0x0000' bus='0x06' slot='0x12' function='0x5'/></source>"
_FLOPPY = "<disk type='file' device='floppy'><source file='/a.img'/><target dev='fda'/>{more}</disk>"


def storage_of(devices: str = "", os: str = "", more: str = "") -> list[str]:
    """What a definition with these parts lets its guest write to."""
    text = f"<domain {_QEMU}><name>a</name><os>{os}</os><devices>{devices}</devices>{more}</domain>"
    return list(Definition.parse(text).host_storage())


def arguments(*values: str) -> str:
    """Arguments that libvirt hands to QEMU unread."""
    return f"<qemu:commandline>{''.join(f'<qemu:arg value={each!r}/>' for each in values)}</qemu:commandline>"


@pytest.mark.parametrize(
    ("devices", "said"),
    [
        (_FLOPPY.format(more=""), "the floppy /a.img (its drive fda)"),
        (_PMEM.format(access="", more=""), "the memory in the file /dev/pmem0 (nvdimm)"),
        (f"<hostdev type='usb'>{_USB}</hostdev>", "the device usb 0x1234:0x5678"),
        (f"<hostdev type='pci'>{_PCI}</hostdev>", "the device pci 0000:06:12.5"),
        (f"<hostdev type='scsi'>{_PCI}</hostdev>", "the SCSI device 0x06:0:0"),
        ("<filesystem><source dir='/srv'/></filesystem>", "the folder /srv"),
    ],
)
def test_what_takes_writes_is_said(devices: str, said: str) -> None:
    """Each with the place on the host."""
    assert storage_of(devices) == [said]


@pytest.mark.parametrize(
    "devices",
    [
        _FLOPPY.format(more="<readonly/>"),
        "<disk type='file' device='floppy'><target dev='fda'/></disk>",
        _PMEM.format(access="access='private'", more=""),
        _PMEM.format(access="", more="<readonly/>"),
        "<memory model='dimm'><target/></memory>",
        f"<hostdev type='scsi'>{_PCI}<readonly/></hostdev>",
    ],
)
def test_what_takes_none_is_not(devices: str) -> None:
    """Nobody is bothered with it."""
    assert storage_of(devices) == []


def test_firmware_that_takes_writes_is_said() -> None:
    """Its variables have a file of their own, which undo points cover; here there is none."""
    loader = "<loader readonly='{}' type='pflash'>/fw.fd</loader>"
    assert storage_of(os=loader.format("no")) == ["its firmware /fw.fd"]
    assert storage_of(os=loader.format("yes")) == []


def test_drives_past_libvirt_are_said() -> None:
    """Such that QEMU opens for reading alone are not, nor arguments that are no drives."""
    given = arguments(
        "-drive", "file=/x.img,if=virtio", "-drive", "file=/y,readonly=on", "-object", "rng-random"
    )
    assert storage_of(more=given) == ["what -drive file=/x.img,if=virtio names (in <qemu:commandline>)"]
