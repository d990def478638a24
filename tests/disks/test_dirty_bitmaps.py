"""Bitmaps of incremental backups are carried, gathered and restored, whatever kills or refuses the work."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from innkeeper.disks import dirty_bitmaps, qemu_program
from innkeeper.disks.dirty_bitmaps import Bitmap, Since, bitmaps, carry, gather, restore
from innkeeper.disks.qemu_program import Limits
from innkeeper.errors import DiskError
from tests.disks.killing import in_a_killed_process

_K, _M = 1 << 10, 1 << 20
_SIZE = 64 * _M + 512
#: What was written before the overlay, and while it was there: (start, length).
_BEFORE = [(0, _M)]
_MEANWHILE = [(5 * _M, 64 * _K), (8 * _M, 2 * _M), (64 * _M, 512)]
_KNOWN = Since(kept=frozenset({"old"}), begun=frozenset({"new"}))


@pytest.fixture
def images(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A base with a bitmap, an overlay that took writes with it and with another one, and a place beside."""
    return make(tmp_path)


def make(folder: Path) -> tuple[Path, Path, Path]:
    """The base, its overlay, and where bitmaps are gathered."""
    base, overlay, side = (folder / name for name in ("base.qcow2", "overlay.qcow2", "side.qcow2"))
    run("qemu-img", "create", "-f", "qcow2", str(base), str(_SIZE))
    run("qemu-img", "bitmap", "--add", str(base), "old")
    write(base, _BEFORE)
    run("qemu-img", "create", "-f", "qcow2", "-b", str(base), "-F", "qcow2", str(overlay))
    carry(base, overlay)
    run("qemu-img", "bitmap", "--add", "-g", "32768", str(overlay), "new")
    write(overlay, _MEANWHILE)
    return base, overlay, side


def run(*command: str) -> None:
    """Run one of QEMU's programs."""
    subprocess.run(command, check=True, capture_output=True)


def write(image: Path, ranges: Sequence[tuple[int, int]]) -> None:
    """Write to an image as a guest does, half of it zeros."""
    commands = [word for at, length in ranges for word in ("-c", f"write -P 7 {at} {length}")]
    run(
        "qemu-io",
        "-f",
        "qcow2",
        *commands,
        "-c",
        "write -z 9M 64k" if len(ranges) > 1 else "flush",
        str(image),
    )


def recorded(image: Path, name: str) -> list[tuple[int, int]]:
    """What a bitmap says was written, as (start, length)."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        socket = f"{folder}/nbd"
        server = ["qemu-nbd", "-r", "-t", "-x", "disk", "-B", name, "-k", socket, "-f", "qcow2", str(image)]
        with subprocess.Popen(server) as process:
            while not Path(socket).exists():
                assert process.poll() is None
                time.sleep(0.01)
            node = (
                f"driver=nbd,export=disk,server.type=unix,server.path={socket},"
                f"x-dirty-bitmap=qemu:dirty-bitmap:{name}"
            )
            command = ["qemu-img", "map", "--output=json", "--image-opts", node]
            printed = subprocess.run(command, check=True, capture_output=True).stdout
            process.kill()
    return [(each["start"], each["length"]) for each in json.loads(printed) if not each["data"]]


def test_an_overlay_begins_the_bitmaps_of_its_base(images: tuple[Path, Path, Path]) -> None:
    """Empty, of the same grain; a second time changes nothing."""
    base, overlay, _ = images
    carry(base, overlay)
    assert {each.name for each in bitmaps(overlay)} == {"old", "new"}
    assert recorded(overlay, "old") == [(5 * _M, 64 * _K), (8 * _M, 2 * _M), (64 * _M, 512)]
    assert bitmaps(base) == (Bitmap(name="old"),)


def test_what_an_overlay_held_is_in_the_bitmap_that_began_in_it(images: tuple[Path, Path, Path]) -> None:
    """And in no other that is known to be right; each step may be repeated."""
    base, overlay, side = images
    for _ in range(2):
        assert gather(base, overlay, side, _KNOWN)
        restore(side, base, _KNOWN)
    assert recorded(base, "old") == _BEFORE
    assert recorded(base, "new") == _MEANWHILE
    assert {each.name: each.granularity for each in bitmaps(base)} == {"old": 64 * _K, "new": 32 * _K}


def test_where_nothing_is_known_every_bitmap_has_what_the_overlay_held(
    images: tuple[Path, Path, Path],
) -> None:
    """Too much makes an increment larger; too little would make it wrong."""
    base, overlay, side = images
    assert gather(base, overlay, side, Since())
    restore(side, base, Since())
    assert recorded(base, "old") == _BEFORE + _MEANWHILE
    assert recorded(base, "new") == _MEANWHILE


def test_nothing_is_written_where_nothing_began(tmp_path: Path) -> None:
    """The base is left as it is, byte for byte."""
    base, overlay, side = make(tmp_path)
    run("qemu-img", "bitmap", "--remove", str(overlay), "new")
    before = base.read_bytes()
    assert not gather(base, overlay, side, Since(kept=frozenset({"old"})))
    assert not side.exists()
    assert base.read_bytes() == before


def test_a_bitmap_that_is_not_recording_stays_so_and_one_that_is_given_up_goes(
    images: tuple[Path, Path, Path],
) -> None:
    """As its owner left it."""
    base, overlay, side = images
    run("qemu-img", "bitmap", "--disable", str(base), "old")
    run("qemu-img", "bitmap", "--add", str(base), "useless")
    since = Since(begun=frozenset({"new"}), gone=frozenset({"useless"}))
    gather(base, overlay, side, since)
    restore(side, base, since)
    assert {each.name: each.recording for each in bitmaps(base)} == {"old": False, "new": True}


def test_a_broken_bitmap_is_not_taken_for_a_sound_one(images: tuple[Path, Path, Path]) -> None:
    """What it missed nobody knows: it stays broken, and the others are mended."""
    base, overlay, side = images
    tear(base)
    gather(base, overlay, side, Since())
    restore(side, base, Since())
    assert {each.name: each.broken for each in bitmaps(base)} == {"old": True, "new": False}
    assert recorded(base, "new") == _MEANWHILE


@pytest.mark.parametrize("limit", [1000, 4 << 20])
def test_many_pieces_are_joined_and_asked_for_by_halves(
    images: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """Whatever the overlay looks like, the work is bounded, and nothing is left out."""
    base, overlay, side = images
    pieces = [(at * _M, 64 * _K) for at in range(12, 60, 2)]
    write(overlay, pieces)
    monkeypatch.setattr(dirty_bitmaps, "_MOST_RANGES", 8)
    monkeypatch.setattr(dirty_bitmaps, "MOST_OUTPUT", limit)
    gather(base, overlay, side, _KNOWN)
    restore(side, base, _KNOWN)
    found = recorded(base, "new")
    assert len(found) <= 8
    for start, length in (*_MEANWHILE, *pieces):
        assert any(at <= start and start + length <= at + size for at, size in found)


def test_a_kill_anywhere_loses_no_bitmap(tmp_path: Path) -> None:
    """Before each of QEMU's programs, and in the middle of those that have the base open for writing."""
    first = tmp_path / "first"
    first.mkdir()
    base, overlay, _ = make(first)
    for number in range(1, 100):
        folder = tmp_path / str(number)
        folder.mkdir()
        copies = shutil.copyfile(base, folder / "b"), shutil.copyfile(overlay, folder / "o"), folder / "s"
        run("qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", str(copies[0]), str(copies[1]))

        def work(copies: tuple[Path, Path, Path] = copies, number: int = number) -> None:
            die_at(number, copies[0])
            mend(*copies)

        was_killed = in_a_killed_process(work)
        mend(*copies)
        assert not any(each.broken for each in bitmaps(copies[0]))
        assert recorded(copies[0], "new") == _MEANWHILE
        assert recorded(copies[0], "old") == _BEFORE
        if not was_killed:
            assert number > 8
            return
    raise AssertionError("it never got through")


def mend(base: Path, overlay: Path, side: Path) -> None:
    """All of it."""
    if gather(base, overlay, side, _KNOWN):
        restore(side, base, _KNOWN)


def die_at(count: int, base: Path) -> None:
    """Kill this process at the start of the ``count``-th program; one that writes to the base is torn."""
    real: Callable[..., bytes] = qemu_program.run
    left = [count]

    def run_or_die(
        program: str, arguments: Sequence[str], path: Path, limits: Limits, **options: object
    ) -> bytes:
        left[0] -= 1
        if not left[0]:
            if path == base and "bitmap" in arguments:
                tear(base)
            os.kill(os.getpid(), signal.SIGKILL)
        return real(program, arguments, path, limits, **options)

    qemu_program.run = run_or_die


def tear(image: Path) -> None:
    """Kill a QEMU that has the image open for writing."""
    with subprocess.Popen(["qemu-io", "-f", "qcow2", "-c", "sleep 60000", str(image)]) as process:
        while not any(each.broken for each in bitmaps(image)):
            time.sleep(0.01)
        process.kill()


@pytest.mark.parametrize("is_full_for", ["gather", "restore"])
def test_a_full_disk_leaves_what_can_be_done_again(images: tuple[Path, Path, Path], is_full_for: str) -> None:
    """The first try fails with a sentence; once there is room, all is right."""
    base, overlay, side = images
    if is_full_for == "restore":
        gather(base, overlay, side, _KNOWN)
    before = base.read_bytes()
    with no_room(64 * _K), pytest.raises(DiskError):
        mend(base, overlay, side)
    if is_full_for == "gather":
        assert not side.exists()
        assert base.read_bytes() == before
        assert sorted(each.name for each in base.parent.iterdir()) == ["base.qcow2", "overlay.qcow2"]
    mend(base, overlay, side)
    assert recorded(base, "new") == _MEANWHILE
    assert recorded(base, "old") == _BEFORE


@contextlib.contextmanager
def no_room(size_bytes: int) -> Iterator[None]:
    """No file of this process and its programs grows beyond a size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
