"""Other people's readers find on our disks what we wrote, where they read rightly at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from innkeeper import disks

pyvhdi = pytest.importorskip("pyvhdi", reason="libvhdi-python is not installed")
dissect_vhd = pytest.importorskip("dissect.hypervisor.disk.vhd", reason="dissect.hypervisor is not installed")

SIZE = 12 << 20


@pytest.fixture(params=["dynamic", "fixed"])
def written(
    request: pytest.FixtureRequest, tmp_path: Path, scribble: Callable[..., None]
) -> tuple[Path, bytes]:
    """Make a disk and write to it: (path, content)."""
    make = disks.create_dynamic if request.param == "dynamic" else disks.create_fixed
    path = make(tmp_path / "d.vhd", SIZE)
    model = bytearray(SIZE)
    scribble(path, model, 25)
    return path, bytes(model)


def test_libvhdi_reads_our_disks(written: tuple[Path, bytes]) -> None:
    """libvhdi finds the same bytes."""
    file = pyvhdi.file()
    file.open(str(written[0]))
    try:
        assert file.get_media_size() == SIZE
        assert file.read_buffer_at_offset(SIZE, 0) == written[1]
    finally:
        file.close()


def test_dissect_reads_our_disks(written: tuple[Path, bytes]) -> None:
    """dissect.hypervisor finds the same bytes."""
    with written[0].open("rb") as stream:
        disk = dissect_vhd.VHD(stream)
        assert disk.size == SIZE
        assert disk.read(SIZE) == written[1]


def test_libvhdi_reads_our_children(tmp_path: Path) -> None:
    """libvhdi accepts our parent's identity, and reads a child whose changes begin and end with whole bytes
    of the bitmap (others it misreads)."""
    parent = disks.create_dynamic(tmp_path / "p.vhd", SIZE)
    with disks.open(parent, writable=True) as disk:
        disk.pwrite(b"p" * SIZE, 0)
    path = disks.create_differencing(tmp_path / "c.vhd", parent)
    with disks.open(path, writable=True) as disk:
        disk.pwrite(b"c" * 65536, 4096 * 7)
        expected = disk.pread(SIZE, 0)
    child, base = pyvhdi.file(), pyvhdi.file()
    child.open(str(path))
    base.open(str(parent))
    try:
        child.set_parent(base)
        assert child.get_parent_identifier() == base.get_identifier()
        assert child.read_buffer_at_offset(SIZE, 0) == expected
    finally:
        child.close()
        base.close()
