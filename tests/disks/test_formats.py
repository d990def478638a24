"""A guest decides nothing by what it writes, and an image leads to no file of the host."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from innkeeper import disks
from innkeeper.disks import qemu_img, qemu_program
from innkeeper.disks.allowed import beside_named, only_within
from innkeeper.disks.check import check
from innkeeper.disks.compact import compact
from innkeeper.disks.confined.reach import Reach
from innkeeper.disks.facts import describe, peek
from innkeeper.disks.file import ImageFile
from innkeeper.disks.footer import Footer
from innkeeper.disks.formats import is_qcow2_named_as_raw
from innkeeper.disks.kind import Kind
from innkeeper.disks.leftovers import unfinished_name
from innkeeper.disks.merge import merge
from innkeeper.disks.qemu_program import Limits
from innkeeper.disks.repair import repair
from innkeeper.disks.reparent import reparent
from innkeeper.disks.resize import resize
from innkeeper.disks.roots import Roots
from innkeeper.errors import DiskError, ErrorCode
from tests.disks.killing import code_path

MIB = 1 << 20
SIZE = 4 * MIB
SECRET = b"secret of the host. " * 1000
MARKS = (b"QFI\xfb\0\0\0\3", b"KDMV", b"COWD", b"vhdxfile", b"# Disk DescriptorFile\n")

Run = Callable[..., str]


def code_of(work: Callable[[], object]) -> ErrorCode:
    """The identifier of the error that ``work`` meets."""
    with pytest.raises(DiskError) as met:
        work()
    return met.value.code


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file of the host that is nobody's disk."""
    path = tmp_path / "elsewhere" / "secret"
    path.parent.mkdir()
    path.write_bytes(SECRET.ljust(SIZE, b"."))
    return path


def sparse_vmdk(secret: Path) -> bytes:
    """A VMDK with a sparse header of no capacity, whose description names a file of the host."""
    text = (
        "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n"
        f'createType="monolithicFlat"\nRW {SIZE // 512} FLAT "{secret}" 0\n'
    )
    head = b"KDMV" + (1).to_bytes(4, "little") + (3).to_bytes(4, "little") + bytes(16)
    return (head + (1).to_bytes(8, "little") + (20).to_bytes(8, "little")).ljust(512, b"\0") + text.encode()


def qcow2_over(path: Path, secret: Path, run: Run) -> bytes:
    """The header of a qcow2 image that stands on a file of the host."""
    run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", secret, path)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("name", "accepted"),
    [("debian-12.img", True), ("debian-12", True), ("debian.raw", False), ("debian.vhd", False)],
)
def test_a_qcow2_is_known_under_a_name_that_says_no_format(
    tmp_path: Path, run: Run, name: str, accepted: bool
) -> None:
    """Cloud images are published as ``.img``; a name that says another format stands against the header."""
    path = tmp_path / name
    run("qemu-img", "create", "-q", "-f", "qcow2", path, "8M")
    with ImageFile.open(path) as file:
        assert is_qcow2_named_as_raw(file) is accepted


def test_a_qcow2_that_needs_another_file_or_ends_as_a_vhd_is_not_known_by_its_header(
    tmp_path: Path, secret: Path, run: Run
) -> None:
    """Such headers are what a guest would write, and no published image has them."""
    over, both = tmp_path / "over.img", tmp_path / "both.img"
    qcow2_over(over, secret, run)
    both.write_bytes(b"QFI\xfb\0\0\0\3".ljust(SIZE, b"\0") + Footer.new(Kind.FIXED, SIZE).encode())
    for path in (over, both):
        with ImageFile.open(path) as file:
            assert not is_qcow2_named_as_raw(file)


@pytest.mark.parametrize("mark", MARKS)
def test_a_fixed_vhd_is_one_whatever_its_guest_wrote(tmp_path: Path, mark: bytes) -> None:
    """Its footer, which no guest reaches, says what it is: converted, described and run as what it is."""
    path = disks.create_fixed(tmp_path / "f.vhd", SIZE)
    with disks.open(path, writable=True) as disk:
        disk.pwrite(mark, 0)
    target = disks.convert(path, tmp_path / "x.raw", Kind.RAW)
    assert target.read_bytes() == mark.ljust(SIZE, b"\0")
    assert describe(path)[0].kind is Kind.FIXED
    assert peek(path) == (Kind.FIXED, SIZE)


def test_a_guests_header_leads_a_conversion_to_no_file(tmp_path: Path, secret: Path, run: Run) -> None:
    """A fixed VHD whose guest wrote a whole VMDK or qcow2 header converts to these very bytes."""
    for number, header in enumerate((sparse_vmdk(secret), qcow2_over(tmp_path / "h.qcow2", secret, run))):
        path = disks.create_fixed(tmp_path / f"{number}.vhd", SIZE)
        with disks.open(path, writable=True) as disk:
            disk.pwrite(header, 0)
        target = disks.convert(path, tmp_path / f"{number}.out", Kind.QCOW2)
        run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", target, tmp_path / f"{number}.raw")
        assert (tmp_path / f"{number}.raw").read_bytes() == header.ljust(SIZE, b"\0")


@pytest.mark.parametrize("name", ["d.img", "d.raw", "disk"])
@pytest.mark.parametrize("mark", [*MARKS, b"conectix"])
def test_a_raw_disk_whose_guest_wrote_a_mark_is_asked_about(tmp_path: Path, name: str, mark: bytes) -> None:
    """It is refused until the person says what it is, and then it is that."""
    path = tmp_path / name
    inner = disks.create_dynamic(tmp_path / "inner.vhd", SIZE)
    content = inner.read_bytes() if mark == b"conectix" else mark
    # A footer's copy at the start, with the header behind it, and none at the end.
    path.write_bytes(content.ljust(SIZE, b"\0"))
    with pytest.raises(DiskError) as refused:
        disks.convert(path, tmp_path / "x.vhd", Kind.DYNAMIC)
    assert refused.value.code is ErrorCode.VM_E_INVALID_HD_FILE
    assert "--format" in refused.value.advice
    target = disks.convert(path, tmp_path / "x.raw", Kind.RAW, source_kind=Kind.RAW)
    assert target.read_bytes() == path.read_bytes()
    assert code_of(lambda: describe(path)) is ErrorCode.VM_E_INVALID_HD_FILE


def test_a_raw_disk_whose_guest_wrote_a_footer_is_asked_about(tmp_path: Path) -> None:
    """The last sector of a raw disk is the guest's too."""
    path = tmp_path / "d.img"
    path.write_bytes(bytes(SIZE) + Footer.new(Kind.FIXED, SIZE).encode())
    assert (
        code_of(lambda: disks.convert(path, tmp_path / "x.raw", Kind.RAW)) is ErrorCode.VM_E_INVALID_HD_FILE
    )
    assert disks.convert(path, tmp_path / "y.raw", Kind.RAW, source_kind=Kind.FIXED).stat().st_size == SIZE
    assert (
        disks.convert(path, tmp_path / "z.raw", Kind.RAW, source_kind=Kind.RAW).stat().st_size == SIZE + 512
    )


@pytest.mark.parametrize("name", ["web-1", "web-1.img"])
def test_a_raw_disk_that_is_a_vhd_by_its_content_alone_is_left_alone(tmp_path: Path, name: str) -> None:
    """Every verb asks, whatever guest wrote a whole dynamic VHD into its disk; a name or a person answers."""
    path, child = tmp_path / name, tmp_path / "c.vhd"
    content = disks.create_dynamic(tmp_path / "inner.vhd", SIZE).read_bytes()
    path.write_bytes(content)
    disks.create_differencing(child, tmp_path / "inner.vhd")
    verbs: dict[str, Callable[[], object]] = {
        "info": lambda: describe(path),
        "check": lambda: check(path),
        "repair": lambda: repair(path),
        "resize": lambda: resize(path, 2 * SIZE),
        "compact": lambda: compact(path),
        "merge": lambda: merge(path),
        "export": lambda: disks.open(path),
        "create": lambda: disks.create_differencing(tmp_path / "new.vhd", path),
        "reparent": lambda: reparent(child, path),
        "convert": lambda: disks.convert(path, tmp_path / "out.raw", Kind.RAW),
    }
    for verb, work in verbs.items():
        with pytest.raises(DiskError) as refused:
            work()
        expected = ErrorCode.VM_E_WRONG_HD_IMAGE_TYPE if verb == "merge" else ErrorCode.VM_E_INVALID_HD_FILE
        assert refused.value.code is expected, verb
        assert verb == "merge" or "--format" in refused.value.advice, verb
    assert path.read_bytes() == content
    assert {each.name for each in tmp_path.iterdir()} == {name, "inner.vhd", "c.vhd"}
    raw = disks.convert(path, tmp_path / "as.raw", Kind.RAW, source_kind=Kind.RAW)
    assert raw.read_bytes() == content
    vhd = disks.convert(path, tmp_path / "of.raw", Kind.RAW, source_kind=Kind.DYNAMIC)
    assert vhd.read_bytes() == bytes(SIZE)
    resize(path.rename(tmp_path / "web-1.vhd"), 2 * SIZE)


def test_a_vhd_without_footer_is_not_what_its_guest_wrote(tmp_path: Path, secret: Path, run: Run) -> None:
    """A fixed VHD that lost its footer and begins like another format is refused."""
    path = tmp_path / "f.vhd"
    path.write_bytes(qcow2_over(tmp_path / "h.qcow2", secret, run).ljust(SIZE, b"\0"))
    assert (
        code_of(lambda: disks.convert(path, tmp_path / "x.raw", Kind.RAW)) is ErrorCode.VM_E_INVALID_HD_FILE
    )
    assert code_of(lambda: describe(path)) is ErrorCode.VM_E_INVALID_HD_FILE


def with_parent_locator(data: bytes, parent: str) -> bytes:
    """Give a VHDX a parent: one more item in its table of metadata, with a path behind the others."""
    image = bytearray(data)
    table = image.index(b"metadata")
    count = int.from_bytes(image[table + 10 : table + 12], "little")
    key, value = "absolute_win32_path".encode("utf-16-le"), parent.encode("utf-16-le")
    entry = (32).to_bytes(4, "little") + (32 + len(key)).to_bytes(4, "little")
    entry += len(key).to_bytes(2, "little") + len(value).to_bytes(2, "little")
    locator = bytes(18) + (1).to_bytes(2, "little") + entry + key + value
    at = 128 << 10
    item = uuid.UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c").bytes_le
    item += at.to_bytes(4, "little") + len(locator).to_bytes(4, "little") + bytes(8)
    image[table + 32 + 32 * count : table + 64 + 32 * count] = item
    image[table + 10 : table + 12] = (count + 1).to_bytes(2, "little")
    image[table + at : table + at + len(locator)] = locator
    return bytes(image)


def hostile(kind: str, path: Path, secret: Path, run: Run) -> Kind:
    """Make an image that names a file of the host; returns its format."""
    made = Kind(kind.partition("-")[0])
    if made is Kind.VMDK:
        hostile_vmdk(kind, path, secret, run)
    elif made is Kind.QCOW2:
        hostile_qcow2(kind, path, secret, run)
    else:
        run("qemu-img", "create", "-q", "-f", "vhdx", path, "4M")
        path.write_bytes(with_parent_locator(path.read_bytes(), str(secret)))
    return made


def hostile_vmdk(kind: str, path: Path, secret: Path, run: Run) -> None:
    """Name the file as an extent or as the parent, in a description or behind a header."""
    parent = f'parentCID=00000001\nparentFileNameHint="{secret}"'.encode()
    if kind == "vmdk-sparse":
        path.write_bytes(sparse_vmdk(secret))
    elif kind == "vmdk-parent":
        run("qemu-img", "create", "-q", "-f", "vmdk", path, "4M")
        data = bytearray(path.read_bytes())
        at = data.index(b"parentCID=ffffffff")
        data[at : at + len(parent)] = parent
        path.write_bytes(data)
    elif kind == "vmdk-old":
        path.write_bytes((b"COWD" + (1).to_bytes(4, "little")).ljust(512, b"\0") + parent.ljust(SIZE, b"\0"))
    else:
        extent = kind.removeprefix("vmdk-")
        what = {"vmfs": "VMFS", "vmfsRawDeviceMap": "VMFSRDM", "twoGbMaxExtentSparse": "SPARSE"}[extent]
        head = "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n"
        extents = f'RW {SIZE // 512} {what} "{secret}" 0\nRW 8 FLAT "/dev/sda" 0\n'
        path.write_text(f'{head}createType="{extent}"\n{extents}')


def hostile_qcow2(kind: str, path: Path, secret: Path, run: Run) -> None:
    """Name the file as the backing file or the data file, in whatever spelling."""
    overlay = ("qemu-img", "create", "-q", "-f", "qcow2")
    node = {"driver": "raw", "file": {"driver": "file", "filename": str(secret)}}
    names = {
        "qcow2-json": f"json:{json.dumps(node)}",
        "qcow2-nbd": "nbd:unix:/secret:exportname=x",
        "qcow2-fd": "fd:3-secret",
    }
    if kind in names:
        run(*overlay, "-u", "-F", "raw", "-b", names[kind], path, "4M")
    elif kind == "qcow2":
        run(*overlay, "-F", "raw", "-b", secret, path)
    elif kind == "qcow2-link":
        path.with_name("link").symlink_to(secret)
        run(*overlay, "-F", "raw", "-b", "link", path)
    elif kind == "qcow2-chain":
        run(*overlay, "-F", "raw", "-b", secret, path.with_name("middle.qcow2"))
        run(*overlay, "-F", "qcow2", "-b", path.with_name("middle.qcow2"), path)
    else:
        run(*overlay, "-o", f"data_file={path.with_name('data')},data_file_raw=on", path, "4M")
        run("qemu-img", "amend", "-f", "qcow2", "-o", f"data_file={secret}", path)


KINDS = (
    "vhdx-parent", "vmdk-sparse", "vmdk-parent", "vmdk-old", "vmdk-vmfs", "vmdk-vmfsRawDeviceMap",
    "vmdk-twoGbMaxExtentSparse", "qcow2", "qcow2-nbd", "qcow2-fd", "qcow2-json", "qcow2-link", "qcow2-chain",
    "qcow2-data",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_an_image_names_is_refused_by_its_name(
    tmp_path: Path, secret: Path, run: Run, kind: str
) -> None:
    """Before anything is read of it, whichever way it is named, with the format said or not."""
    path = tmp_path / f"e.{kind.partition('-')[0]}"
    source_kind = hostile(kind, path, secret, run)
    named = {"qcow2-link": "link", "qcow2-chain": "middle.qcow2"}.get(kind, "secret")
    opened = secret.stat().st_atime_ns
    for target_kind in (Kind.RAW, Kind.DYNAMIC, Kind.QCOW2, Kind.VMDK):
        for said in (None, source_kind):
            with pytest.raises(DiskError) as refused:
                disks.convert(path, tmp_path / "out", target_kind, source_kind=said)
            assert refused.value.code is ErrorCode.VM_E_WRONG_HD_IMAGE_TYPE
            assert named in str(refused.value)
            assert f"qemu-img convert -f {source_kind} -O qcow2 {path} " in refused.value.advice
    assert secret.stat().st_atime_ns == opened
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("target_kind", [Kind.RAW, Kind.DYNAMIC, Kind.QCOW2])
def test_an_image_that_changes_under_a_conversion_gives_nothing_away(
    tmp_path: Path, secret: Path, run: Run, monkeypatch: pytest.MonkeyPatch, target_kind: Kind
) -> None:
    """A header that is written after the look at the image leads to a file of the host, and no new disk."""
    path = tmp_path / "e.vmdk"
    run("qemu-img", "create", "-q", "-f", "vmdk", path, "4M")
    real = qemu_img.run

    def swap(*arguments: Any, **options: Any) -> None:
        with path.open("r+b") as stream:
            stream.write(sparse_vmdk(secret).ljust(64 << 10, b"\0"))
        real(*arguments, **options)

    monkeypatch.setattr(qemu_img, "run", swap)
    assert (
        code_of(lambda: disks.convert(path, tmp_path / "out", target_kind))
        is ErrorCode.ERROR_SHARING_VIOLATION
    )
    assert sorted(tmp_path.iterdir()) == sorted([path, secret.parent])


def test_a_damaged_header_names_nothing_and_ends_soon(tmp_path: Path, run: Run) -> None:
    """Numbers that lead nowhere are refused by QEMU or here, and nothing hangs."""
    run("qemu-img", "create", "-q", "-f", "qcow2", tmp_path / "a.qcow2", "4M")
    run("qemu-img", "create", "-q", "-f", "vhdx", tmp_path / "a.vhdx", "4M")
    run("qemu-img", "create", "-q", "-f", "vmdk", tmp_path / "a.vmdk", "4M")
    for path in (tmp_path / "a.qcow2", tmp_path / "a.vhdx", tmp_path / "a.vmdk"):
        data = path.read_bytes()
        for at in (8, 16, 72, 100, 104, 28, 44, 192 << 10, (192 << 10) + 8, 1 << 20):
            changed = bytearray(data)
            changed[at : at + 4] = b"\xff\xff\xff\xff"
            path.write_bytes(changed)
            with contextlib.suppress(DiskError):
                describe(path)


# Parents


@pytest.fixture
def scattered(tmp_path: Path) -> tuple[Path, Path]:
    """A child in one folder and its parent in another: (child, parent)."""
    parent = disks.create_dynamic(tmp_path / "golden" / "p.vhd", SIZE)
    with disks.open(parent, writable=True) as disk:
        disk.pwrite(b"parent", 0)
    return disks.create_differencing(tmp_path / "own" / "c.vhd", parent), parent


def test_a_parent_outside_the_folders_is_refused_by_its_name(
    scattered: tuple[Path, Path], tmp_path: Path
) -> None:
    """Named by a path or reached by a link, it is not opened; where its folder is allowed, it is."""
    child, parent = scattered
    own = Roots([child.parent]).allowed
    with only_within(own):
        for work in (disks.open, lambda path: disks.convert(path, tmp_path / "x.vhd", Kind.DYNAMIC)):
            with pytest.raises(DiskError) as refused:
                work(child)
            assert refused.value.code is ErrorCode.ERROR_BAD_PATHNAME
            assert str(parent) in str(refused.value)
    (child.parent / "p.vhd").symlink_to(parent)
    with only_within(own):
        assert code_of(lambda: disks.open(child)) is ErrorCode.ERROR_BAD_PATHNAME
    with only_within(beside_named(child, others=(parent.parent,))), disks.open(child) as disk:
        assert disk.pread(6, 0) == b"parent"


def test_a_grandparent_outside_the_folders_is_refused(scattered: tuple[Path, Path], tmp_path: Path) -> None:
    """However deep in the chain it is named."""
    child, _ = scattered
    top = disks.create_differencing(tmp_path / "own" / "top.vhd", child)
    with only_within(Roots([child.parent]).allowed):
        assert code_of(lambda: disks.open(top)) is ErrorCode.ERROR_BAD_PATHNAME


# What QEMU's programs are given and may take


@pytest.mark.parametrize("name", ["a,b.qcow2", "a:b.qcow2", "json:{}.qcow2", "ä b%20#?.qcow2", "nbd:x.qcow2"])
def test_any_name_of_a_file_is_a_name(tmp_path: Path, name: str) -> None:
    """A comma, a colon or what looks like a protocol in a path is a part of the path."""
    folder = tmp_path / "with, comma"
    path = disks.create_dynamic(folder / "d.vhd", SIZE)
    with disks.open(path, writable=True) as disk:
        disk.pwrite(b"content", 0)
    made = disks.convert(path, folder / name, Kind.QCOW2)
    again = disks.convert(made, folder / f"{name}.vmdk", Kind.VMDK, source_kind=Kind.QCOW2)
    raw = disks.convert(again, folder / "x.raw", Kind.RAW, source_kind=Kind.VMDK)
    assert raw.read_bytes() == b"content".ljust(SIZE, b"\0")
    assert describe(made)[0].size_in_guest == SIZE


def test_a_file_of_the_users_is_not_in_the_way(tmp_path: Path) -> None:
    """What is called like an unfinished image stays, and nothing else is left."""
    path = disks.create_dynamic(tmp_path / "d.vhd", SIZE)
    for kind in (Kind.QCOW2, Kind.VMDK, Kind.VHDX, Kind.RAW, Kind.FIXED):
        mine = tmp_path / f"new.{kind}.partial"
        mine.write_text("mine")
        disks.convert(path, tmp_path / f"new.{kind}", kind)
        assert mine.read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 11


def test_a_vmdk_is_called_by_its_own_name(tmp_path: Path) -> None:
    """Its description names the file it lies in, as VMware wants it."""
    path = disks.create_dynamic(tmp_path / "d.vhd", SIZE)
    made = disks.convert(path, tmp_path / "new.vmdk", Kind.VMDK)
    assert b'SPARSE "new.vmdk"' in made.read_bytes()


def test_what_a_killed_conversion_left_is_cleared_away(tmp_path: Path) -> None:
    """The folder of a conversion that was killed goes with the next one; that of a running one stays."""
    path = disks.create_dynamic(tmp_path / "d.vhd", SIZE)
    left, mine = tmp_path / unfinished_name(), tmp_path / ".innkeeper-mine.partial"
    mine.mkdir()
    os.utime(mine, (time.time() - 1000,) * 2)
    left.mkdir()
    (left / "new.qcow2").write_text("half")
    os.utime(left, (time.time() - 1000,) * 2)
    fresh = tmp_path / unfinished_name()
    fresh.mkdir()
    disks.convert(path, tmp_path / "new.qcow2", Kind.QCOW2)
    assert not left.exists()
    assert fresh.exists()
    assert mine.exists(), "no name that Innkeeper gives"


def test_a_program_without_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes more time, processor time or memory than it may comes to an end, with a sentence."""
    path = tmp_path / "x.qcow2"
    for program, limits, code in (
        ("sleep 60", Limits(cpu_seconds=60, memory_bytes=1 << 30, seconds=0.5), ErrorCode.ERROR_TIMEOUT),
        (
            "while :; do :; done",
            Limits(cpu_seconds=1, memory_bytes=1 << 30, seconds=60),
            ErrorCode.VM_E_OUT_OF_RESOURCE,
        ),
    ):
        monkeypatch.setattr(qemu_program, "_found", lambda _name: "/bin/sh")
        assert (
            code_of(functools.partial(qemu_program.run, "x", ["-c", program], path, limits, reach=Reach()))
            is code
        )


def test_a_program_dies_with_who_started_it(tmp_path: Path) -> None:
    """kill -9 of this process leaves no program of QEMU's behind, nor a child of it."""
    program = """
import sys
from pathlib import Path
from innkeeper.disks import qemu_program
from innkeeper.disks.confined.reach import Reach
qemu_program._found = lambda name: "/bin/sh"
print("on", flush=True)
limits, noted = qemu_program.LOOK, Path(sys.argv[1])
reach = Reach(writes=[noted.parent])
qemu_program.run("x", ["-c", f"echo $$ > {noted}; exec sleep 50"], Path("x"), limits, reach=reach)
"""
    noted = tmp_path / "pid"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(noted)], env=os.environ | code_path(), stdout=subprocess.PIPE
    ) as process:
        deadline = time.monotonic() + 30
        while not (noted.exists() and noted.read_text().strip()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        child = int(noted.read_text())
        assert os.getpgid(child) == child, "in a process group of its own"
        process.send_signal(signal.SIGKILL)
        process.wait()
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text().split()[2]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_nothing_is_started_but_by_the_one_place() -> None:
    """No other module names QEMU's programs in a command."""
    root = Path(qemu_img.__file__).parents[1]
    guilty = [
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        for program in (qemu_program.IMAGE, qemu_program.IO, qemu_program.DAEMON)
        if f'["{program}"' in path.read_text() or f'"{program}",' in path.read_text()
        if path.name != "qemu_program.py"
    ]
    assert not guilty
