"""Conversions keep every byte, in both directions, as other programs see it."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from innkeeper import disks
from innkeeper.disks.check import check
from innkeeper.disks.kind import Kind
from innkeeper.errors import DiskError, ErrorCode, InvalidArgument

SIZE = 12 << 20
QEMU_NAMES = {Kind.FIXED: "vpc", Kind.DYNAMIC: "vpc"}


@pytest.fixture
def chain(tmp_path: Path, scribble: Callable[..., None]) -> tuple[Path, Path]:
    """Make a chain of two, and a raw file with the same content: (child, raw)."""
    model = bytearray(SIZE)
    parent = disks.create_dynamic(tmp_path / "p.vhd", SIZE)
    scribble(parent, model, 12)
    child = disks.create_differencing(tmp_path / "c.vhd", parent)
    scribble(child, model, 12)
    raw = tmp_path / "model.raw"
    raw.write_bytes(model)
    return child, raw


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.DIFFERENCING])
def test_every_kind_holds_the_same_disk(
    chain: tuple[Path, Path],
    tmp_path: Path,
    run: Callable[..., str],
    content: Callable[[Path], bytes],
    kind: Kind,
) -> None:
    """A chain written to any kind compares equal in QEMU, and comes back byte for byte."""
    child, raw = chain
    with disks.open(child) as disk:
        target = disk.convert(tmp_path / f"x.{kind}", kind)
    run("qemu-img", "compare", "-F", "raw", "-f", QEMU_NAMES.get(kind, kind), target, raw)
    source_kind = Kind.RAW if kind is Kind.RAW else None
    back = disks.convert(target, tmp_path / "back.vhd", Kind.DYNAMIC, source_kind=source_kind)
    assert content(back) == raw.read_bytes()
    assert not check(back, deep=True)
    fixed = disks.convert(target, tmp_path / "fixed.vhd", Kind.FIXED, source_kind=source_kind)
    assert content(fixed) == raw.read_bytes()
    assert fixed.stat().st_blocks * 512 >= SIZE


def test_formats_of_qemus_own_convert_into_each_other(tmp_path: Path, run: Callable[..., str]) -> None:
    """A raw image becomes qcow2 and then VMDK, and stays the same disk."""
    raw = tmp_path / "a.raw"
    raw.write_bytes(random.Random(1).randbytes(1 << 20) + bytes(3 << 20))
    qcow2 = disks.convert(raw, tmp_path / "a.qcow2", Kind.QCOW2, source_kind=Kind.RAW)
    vmdk = disks.convert(qcow2, tmp_path / "a.vmdk", Kind.VMDK)
    run("qemu-img", "compare", "-f", "vmdk", "-F", "raw", vmdk, raw)


@pytest.mark.parametrize("subformat", ["dynamic", "fixed"])
@pytest.mark.parametrize("force", ["on", "off"])
def test_disks_made_by_qemu_are_read_and_written(
    tmp_path: Path, run: Callable[..., str], content: Callable[[Path], bytes], subformat: str, force: str
) -> None:
    """A VHD of QEMU's reads here as there, and what is written here QEMU reads."""
    path = tmp_path / "q.vhd"
    options = f"subformat={subformat},force_size={force}"
    run("qemu-img", "create", "-f", "vpc", "-o", options, path, "10M")
    run("qemu-io", "-f", "vpc", "-c", "write -P 7 100k 3M", "-c", "write -P 9 8M 64k", path)
    with disks.open(path, writable=True) as disk:
        assert disk.pread(3 << 20, 100 << 10) == b"\7" * (3 << 20)
        disk.pwrite(b"\5" * 1000, 5_000_000)
        disk.pwrite(b"\6" * 5000, disk.size_bytes - 5000)
    run("qemu-img", "convert", "-f", "vpc", "-O", "raw", path, tmp_path / "q.raw")
    # QEMU takes the geometry for the size of what it made without force_size; only then is its raw shorter.
    assert content(path).startswith((tmp_path / "q.raw").read_bytes())
    assert force == "off" or content(path) == (tmp_path / "q.raw").read_bytes()


def test_holes_stay_holes(tmp_path: Path) -> None:
    """A sparse raw image becomes a small disk and a sparse raw image again."""
    raw = tmp_path / "s.raw"
    with raw.open("wb") as stream:
        stream.truncate(8 << 30)
        stream.seek(5 << 30)
        stream.write(b"x" * 100_000)
    path = disks.convert(raw, tmp_path / "s.vhd", Kind.DYNAMIC, source_kind=Kind.RAW)
    assert path.stat().st_size < 8 << 20
    back = disks.convert(path, tmp_path / "b.raw", Kind.RAW)
    assert back.stat().st_size == 8 << 30
    assert back.stat().st_blocks * 512 < 1 << 20


def test_written_zeros_are_left_out(tmp_path: Path, content: Callable[[Path], bytes]) -> None:
    """Zeros that a raw image really stores take no room in a dynamic disk."""
    raw = tmp_path / "z.raw"
    raw.write_bytes(bytes(16 << 20) + b"x" + bytes((4 << 20) - 1))
    path = disks.convert(raw, tmp_path / "z.vhd", Kind.DYNAMIC, source_kind=Kind.RAW)
    assert path.stat().st_size < 3 << 20
    assert content(path) == raw.read_bytes()


def test_a_raw_image_is_never_guessed(tmp_path: Path) -> None:
    """A file without marks is refused until it is said to be raw; said to be raw, it stays raw."""
    raw = tmp_path / "r.img"
    raw.write_bytes(b"QFI\xfb" + bytes((4 << 20) - 4))
    copy = disks.convert(raw, tmp_path / "r.vhd", Kind.DYNAMIC, source_kind=Kind.RAW)
    assert disks.open(copy).pread(4, 0) == b"QFI\xfb"
    raw.write_bytes(bytes(4 << 20))
    with pytest.raises(DiskError) as refused:
        disks.convert(raw, tmp_path / "x.vhd", Kind.DYNAMIC)
    assert refused.value.code == ErrorCode.VM_E_INVALID_HD_FILE
    assert "--from raw" in refused.value.advice


def test_an_image_that_names_other_files_is_refused(tmp_path: Path, run: Callable[..., str]) -> None:
    """A qcow2 with a backing file would read any file of the host: it is not converted."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"s" * (4 << 20))
    run("qemu-img", "create", "-f", "qcow2", "-b", secret, "-F", "raw", tmp_path / "e.qcow2")
    with pytest.raises(DiskError) as refused:
        disks.convert(tmp_path / "e.qcow2", tmp_path / "x.vhd", Kind.DYNAMIC)
    assert refused.value.code == ErrorCode.VM_E_WRONG_HD_IMAGE_TYPE
    assert not (tmp_path / "x.vhd").exists()


class StopAt:
    """Asks to stop once half of the bytes are done."""

    def __init__(self) -> None:
        self.stop = False

    def advance(self, phase: str, done: int, total: int) -> None:
        """Remember."""
        self.stop = 2 * done >= total

    def cancel_requested(self) -> bool:
        """Whether half was done."""
        return self.stop

    def past_return(self) -> None:
        """Hear nothing."""


@pytest.mark.parametrize("kind", [Kind.RAW, Kind.DYNAMIC, Kind.FIXED, Kind.QCOW2])
def test_a_cancelled_conversion_leaves_nothing(tmp_path: Path, kind: Kind) -> None:
    """Called off in the middle, a conversion leaves nothing of the new image and no lock on the old one."""
    path = disks.create_dynamic(tmp_path / "d.vhd", 256 << 20)
    with disks.open(path, writable=True) as disk:
        for offset in range(0, 256 << 20, 4 << 20):
            disk.pwrite(os.urandom(1 << 20), offset)
    with pytest.raises(disks.Cancelled):
        disks.convert(path, tmp_path / "new", kind, watch=StopAt())
    assert [found.name for found in tmp_path.iterdir()] == ["d.vhd"]
    disks.open(path, writable=True).close()


def test_a_name_that_is_taken_stays(tmp_path: Path) -> None:
    """No conversion writes over a file."""
    path = disks.create_dynamic(tmp_path / "d.vhd", SIZE)
    (tmp_path / "new").write_text("mine")
    for kind in (Kind.RAW, Kind.QCOW2):
        with pytest.raises(DiskError) as refused:
            disks.convert(path, tmp_path / "new", kind)
        assert refused.value.code == ErrorCode.ERROR_ALREADY_EXISTS
    assert (tmp_path / "new").read_text() == "mine"


def test_a_kind_nobody_knows_is_refused(tmp_path: Path) -> None:
    """Neither an unknown kind nor a differencing one can be converted to."""
    path = disks.create_dynamic(tmp_path / "d.vhd", SIZE)
    with disks.open(path) as disk:
        for kind in ("vdi", "differencing"):
            with pytest.raises(InvalidArgument):
                disk.convert(tmp_path / "x", kind)


def test_a_description_that_names_other_files_is_refused(tmp_path: Path) -> None:
    """A VMDK of text could name any file of the host as its data."""
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret" * 1000)
    hostile = tmp_path / "hostile.vmdk"
    hostile.write_text(
        "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n"
        f'createType="monolithicFlat"\nRW 8 FLAT "{secret}" 0\n'
    )
    with pytest.raises(DiskError) as refused:
        disks.convert(hostile, tmp_path / "out.raw", Kind.RAW, source_kind=Kind.VMDK)
    assert refused.value.code is ErrorCode.VM_E_WRONG_HD_IMAGE_TYPE
    assert not (tmp_path / "out.raw").exists()


def test_a_chain_whose_parent_has_another_time_can_be_read_out(
    chain: tuple[Path, Path], tmp_path: Path, content: Callable[[Path], bytes]
) -> None:
    """Refused by itself, it is converted, merged to a new disk and read where the person says so."""
    child, raw = chain
    os.utime(tmp_path / "p.vhd", (1_700_000_000, 1_700_000_000))
    with pytest.raises(DiskError) as refused:
        disks.convert(child, tmp_path / "x.vhd", Kind.DYNAMIC)
    assert refused.value.code is ErrorCode.VM_E_PARENT_MODIFIED
    assert "--ignore-parent-time" in refused.value.advice
    new = disks.convert(child, tmp_path / "x.vhd", Kind.DYNAMIC, ignore_parent_time=True)
    assert content(new) == raw.read_bytes()
    with disks.open(child, ignore_parent_time=True) as disk:
        assert content(disk.merge_to(tmp_path / "y.vhd", Kind.FIXED)) == raw.read_bytes()
    with pytest.raises(DiskError):
        disks.open(child)
