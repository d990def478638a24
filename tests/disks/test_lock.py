"""Disks are held in the way QEMU holds them, so neither side touches what the other uses."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from innkeeper import disks
from innkeeper.errors import DiskError, ErrorCode

SIZE = 4 << 20


def is_refused(work: Callable[[], object]) -> bool:
    """Whether ``work`` meets a sharing violation."""
    try:
        work()
    except DiskError as error:
        return error.code == ErrorCode.ERROR_SHARING_VIOLATION
    return False


@pytest.fixture
def qemu_holds(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Have QEMU hold an image, as a running machine does, until the test ends."""
    running: list[subprocess.Popen[bytes]] = []

    def hold(path: Path, *, read_only: bool) -> None:
        options = "on" if read_only else "off"
        process = subprocess.Popen(
            [
                "qemu-storage-daemon",
                "--blockdev", f"driver=file,node-name=f,filename={path},read-only={options}",
                "--nbd-server", f"addr.type=unix,addr.path={tmp_path}/q",
                "--export", f"type=nbd,id=e,node-name=f,writable={'off' if read_only else 'on'}",
                "--chardev", "stdio,id=c", "--monitor", "chardev=c",
            ],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        running.append(process)
        assert process.stdout is not None
        # The greeting comes when everything on the command line is done.
        assert b"QMP" in process.stdout.readline()

    yield hold
    for process in running:
        process.kill()
        process.communicate()


def test_readers_share_and_writers_do_not(tmp_path: Path) -> None:
    """Many may read a disk at once, one may write it, and never both."""
    path = disks.create_dynamic(tmp_path / "d.vhd", SIZE)
    with disks.open(path), disks.open(path):
        assert is_refused(lambda: disks.open(path, writable=True))
    with disks.open(path, writable=True):
        assert is_refused(lambda: disks.open(path))
        assert is_refused(lambda: disks.open(path, writable=True))
    disks.open(path, writable=True).close()


def test_a_parent_in_a_chain_is_not_written(tmp_path: Path) -> None:
    """While a child is open nobody writes its parent."""
    parent = disks.create_dynamic(tmp_path / "p.vhd", SIZE)
    child = disks.create_differencing(tmp_path / "c.vhd", parent)
    with disks.open(child, writable=True):
        assert is_refused(lambda: disks.open(parent, writable=True))
        disks.open(parent).close()


def test_a_disk_of_a_running_machine_is_refused(tmp_path: Path, qemu_holds: Callable[..., None]) -> None:
    """What QEMU writes to is neither read nor written here."""
    path = disks.create_fixed(tmp_path / "f.vhd", SIZE)
    qemu_holds(path, read_only=False)
    assert is_refused(lambda: disks.open(path))
    assert is_refused(lambda: disks.open(path, writable=True))
    assert is_refused(lambda: disks.open(path).convert(tmp_path / "x.raw", "raw"))


def test_what_qemu_only_reads_may_be_read(tmp_path: Path, qemu_holds: Callable[..., None]) -> None:
    """An image QEMU has open for reading is read here too, and not written."""
    path = disks.create_fixed(tmp_path / "f.vhd", SIZE)
    qemu_holds(path, read_only=True)
    disks.open(path).close()
    assert is_refused(lambda: disks.open(path, writable=True))


def test_qemu_refuses_what_is_held_here(tmp_path: Path, run: Callable[..., str]) -> None:
    """QEMU does not write a disk that is open here, nor reads one that is written here."""
    path = disks.create_dynamic(tmp_path / "d.vhd", SIZE)
    with disks.open(path):
        assert "lock" in run("qemu-io", "-f", "vpc", "-c", "write 0 512", path, check=False)
    with disks.open(path, writable=True):
        assert "lock" in run("qemu-io", "-f", "vpc", "-r", "-c", "read 0 512", path, check=False)
    assert "lock" not in run("qemu-io", "-f", "vpc", "-c", "write 0 512", path)
