"""Programs that read what a guest wrote get what they need of the computer, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from innkeeper.disks import maps, qemu_program
from innkeeper.disks.confined import landlock, seccomp
from innkeeper.disks.confined.child import running, shortcomings, start
from innkeeper.disks.confined.reach import Place, Reach, Sockets
from innkeeper.disks.qemu_program import IMAGE, LOOK
from innkeeper.errors import DiskError, ErrorCode
from innkeeper.hypervisor.libvirt.overlays import create_overlay
from tests.disks.killing import code_path

needs_landlock = pytest.mark.skipif(not landlock.version(), reason="this kernel has no Landlock")
needs_seccomp = pytest.mark.skipif(
    not seccomp.kernel_filters() or seccomp.filter_for(Sockets.NONE) is None,
    reason="this computer has no seccomp filters",
)

_PYTHON = "/usr/bin/python3"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of which a program knows nothing; not in the tests' own, which may be in /usr or the like."""
    with tempfile.TemporaryDirectory(prefix="ik-c-") as made:
        yield Path(made)


def told(code: str, reach: Reach, *arguments: object) -> str:
    """What a confined interpreter of the system prints."""
    command = [_PYTHON, "-I", "-c", f"import os, sys\n{code}", *map(str, arguments)]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    files = [place for place in (*reach.reads, *reach.writes) if isinstance(place, int)]
    with running(command, reach, pass_fds=files, **options) as process:
        return process.communicate(timeout=60)[0].decode().strip()


def expect_no_thread() -> None:
    """Each thread that has started a program ends, once that is over."""
    for each in threading.enumerate():
        if each.name == "innkeeper-confined":
            each.join(30)
            assert not each.is_alive()


_OPEN = """
for place in sys.argv[2:]:
    try:
        os.close(os.open(place, getattr(os, sys.argv[1])))
        print("opened")
    except OSError as error:
        print(error.strerror)
"""


@needs_landlock
def test_only_what_was_named_is_opened(folder: Path) -> None:
    """A file beside it is not, whatever its mode; nor are the user's files, and what else the system has."""
    named, other = folder / "named", folder / "other"
    for each in (named, other):
        each.write_text("x")
    places = (named, other, folder / "gone", Path.home(), "/etc/passwd", f"/proc/{os.getpid()}/environ")
    refused = "Permission denied"
    assert told(_OPEN, Reach(reads=[named]), "O_RDONLY", *places).splitlines() == [
        "opened", refused, "No such file or directory", refused, refused, refused,
    ]  # fmt: skip
    assert told(_OPEN, Reach(reads=[named]), "O_WRONLY", named) == refused
    assert told(_OPEN, Reach(writes=[named]), "O_WRONLY", named) == "opened"


@needs_landlock
def test_an_open_file_is_found_again_by_its_descriptor(folder: Path) -> None:
    """As QEMU opens what it is handed: by the name of the descriptor, though the path leads elsewhere."""
    named = folder / "named"
    named.write_text("x")
    with named.open() as file:
        place: Place = file.fileno()
        assert told(_OPEN, Reach(reads=[place]), "O_RDONLY", f"/proc/self/fd/{place}") == "opened"


@needs_landlock
def test_a_folder_takes_new_files_where_it_may_be_written(folder: Path) -> None:
    """And none where it is only read, nor a device or a link."""
    make = """
os.close(os.open(sys.argv[1] + "/new", os.O_CREAT | os.O_WRONLY))
os.rename(sys.argv[1] + "/new", sys.argv[1] + "/old")
os.symlink("/", sys.argv[1] + "/link")
"""
    assert "PermissionError" in told(make, Reach(reads=[folder]), folder)
    assert not list(folder.iterdir())
    assert "/link" in told(make, Reach(writes=[folder]), folder)
    assert [each.name for each in folder.iterdir()] == ["old"]


def test_it_has_no_privileges_and_gets_none(folder: Path) -> None:
    """No new ones by programs of root's, and no capability, whoever the service is."""
    with running(["/bin/sleep", "60"], Reach(), stdout=subprocess.DEVNULL) as process:
        status = _status(process.pid)
        process.kill()
    kept = 0b10 if os.geteuid() == 0 else 0
    assert status["NoNewPrivs"] == "1"
    for kind in ("CapPrm", "CapEff"):
        assert int(status[kind], 16) & ~kept == 0
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
    if os.geteuid() == 0:
        assert int(status["CapBnd"], 16) == kept
    if seccomp.kernel_filters() and seccomp.filter_for(Sockets.NONE) is not None:
        assert status["Seccomp"] == "2"


def _status(pid: int) -> dict[str, str]:
    """What the kernel says, once the program has been started by what sets it up."""
    while "setpriv" in Path(f"/proc/{pid}/comm").read_text():
        pass
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


_SOCKETS = """
import socket
def tried(family, make):
    try:
        make()
        print(family, "made")
    except OSError as error:
        print(family, error.strerror)
tried("inet", lambda: socket.socket(socket.AF_INET))
tried("netlink", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
tried("unix", lambda: socket.socket(socket.AF_UNIX))
tried("pair", socket.socketpair)
"""


@needs_seccomp
def test_sockets_are_made_where_they_are_needed() -> None:
    """None for a file, those of this computer for an export, all for an image on another computer."""
    refused = "Permission denied"
    expected = {
        Sockets.NONE: [refused] * 4,
        Sockets.LOCAL: [refused, refused, "made", "made"],
        Sockets.ANY: ["made"] * 4,
    }
    for sockets, words in expected.items():
        seen = [line.partition(" ")[2] for line in told(_SOCKETS, Reach(sockets=sockets)).splitlines()]
        assert seen == words, sockets


@needs_seccomp
@pytest.mark.parametrize("name", seccomp.REFUSED)
def test_calls_without_a_use_are_refused(name: str) -> None:
    """Before the kernel looks at what they are asked for."""
    library = seccomp._library()
    assert library is not None
    number = library.seccomp_syscall_resolve_name(name.encode())
    if number < 0:
        pytest.skip("this processor, or this libseccomp, does not know it")
    code = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall(int(sys.argv[1]), *[ctypes.c_ulong(-1)] * 6)
print(ctypes.get_errno())
"""
    assert told(code, Reach(), number) == "1"


@needs_seccomp
def test_no_namespace_is_made() -> None:
    """With one of users a program would be root in it, and reach much more of the kernel."""
    unshare = shutil.which("unshare")
    assert unshare is not None
    with running([unshare, "-Ur", "true"], Reach(), stderr=subprocess.PIPE) as process:
        assert b"not permitted" in process.communicate(timeout=60)[1]
    assert process.returncode


def test_the_service_itself_keeps_what_it_has(folder: Path) -> None:
    """The kernel confines the thread that starts the program, and no other."""
    for _ in range(3):
        told("print(1)", Reach())
    (folder / "new").write_text("x")
    socket.socket(socket.AF_INET).close()
    assert _status(os.getpid())["NoNewPrivs"] == _status(os.getppid())["NoNewPrivs"]
    expect_no_thread()


def test_a_program_that_is_not_there_is_told_as_always() -> None:
    """And the thread that was to start it has ended."""
    with pytest.raises(FileNotFoundError):
        start(["/nowhere/at/all"], Reach())
    expect_no_thread()


def test_an_exception_leaves_no_thread_behind() -> None:
    """The block is over, whatever ends it."""

    def fail() -> None:
        with running(["/bin/sleep", "60"], Reach()) as process:
            process.kill()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    expect_no_thread()


@needs_landlock
@pytest.mark.parametrize("option", ["backing_file", "data_file"])
def test_qemu_opens_no_file_that_an_image_names(folder: Path, option: str) -> None:
    """Though it was told to read the image as it stands, which nothing here does."""
    secret, image = folder / "secret", folder / "image.qcow2"
    secret.write_bytes(b"s" * (1 << 20))
    if option == "backing_file":
        command = ["-b", str(secret), "-F", "raw", str(image)]
    else:
        command = ["-o", f"data_file={secret}", str(image), "1M"]
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *command], check=True)
    reading = ["convert", "-f", "qcow2", "-O", "raw", str(image), str(folder / "out" / "raw")]
    (folder / "out").mkdir()
    reach = Reach(reads=[image], writes=[folder / "out"])
    with pytest.raises(DiskError) as refused:
        qemu_program.run(IMAGE, reading, image, LOOK, reach=reach)
    assert refused.value.code is ErrorCode.E_ACCESSDENIED
    assert not list((folder / "out").iterdir())
    qemu_program.run(IMAGE, reading, image, LOOK, reach=Reach(reads=[folder], writes=[folder / "out"]))


@pytest.mark.parametrize("kind", ["vdi", "vhdx"])
def test_an_undo_disk_is_made_over_an_image_that_a_link_leads_to(folder: Path, kind: str) -> None:
    """The link lies in one folder and the image in another, as a volume in /dev does."""
    (folder / "data").mkdir()
    (folder / "machines").mkdir()
    image, link, overlay = (folder / name for name in ("data/x.img", "machines/x.img", "machines/x.undo"))
    subprocess.run(["qemu-img", "create", "-q", "-f", kind, str(image), "8M"], check=True)
    link.symlink_to(image)
    create_overlay(str(link), kind, str(overlay))
    subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", str(overlay)], check=True)


def test_the_identity_of_a_boot_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may make its file anew, which a program in confinement is then refused: in mid export."""
    session = maps.Session(
        identity=uuid.uuid4(), token=uuid.uuid4(), number=1, device=2, inode=3, length=4, modified_ns=5
    )
    head = session.head
    monkeypatch.setattr(maps, "BOOT_ID", Path("/nowhere"))
    assert session.head == head


#: Run with calls that its kernel refuses: one without Landlock, and one that takes no filter.
_ON_AN_OLD_KERNEL = """
import ctypes, errno, json, sys
from innkeeper.disks.confined import seccomp
library = seccomp._library()
context = library.seccomp_init(0x7FFF0000)
for name in sys.argv[1:]:
    comparison = seccomp._Comparison(0, 4, 22, 0) if name == "prctl" else None  # 4: equal
    error = errno.EINVAL if name == "prctl" else errno.ENOSYS
    seccomp._refuse(library, context, name, error, comparison)
instructions = seccomp._exported(library, context)
libc = ctypes.CDLL(None)
libc.prctl(38, 1, 0, 0, 0)
seccomp.Filter(instructions).enter()
from innkeeper.disks.confined.child import running, shortcomings
from innkeeper.disks.confined.reach import Reach
for _ in range(2):
    with running(["/bin/echo", "ran"], Reach()) as process:
        process.wait()
print(json.dumps(shortcomings()))
"""


@needs_seccomp
@pytest.mark.parametrize(
    ("calls", "lacking"),
    [
        (["landlock_create_ruleset"], ["Landlock"]),
        (["landlock_create_ruleset", "prctl"], ["Landlock", "seccomp"]),
    ],
)
def test_what_the_kernel_lacks_is_said_once_and_the_work_goes_on(
    calls: list[str], lacking: list[str]
) -> None:
    """As on a kernel that answers so: the calls are refused by a filter."""
    done = subprocess.run(
        [sys.executable, "-c", _ON_AN_OLD_KERNEL, *calls],
        env=os.environ | code_path(), capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert lines.count("ran") == 2
    sentences = json.loads(lines[-1])
    assert [word in sentence for word, sentence in zip(lacking, sentences, strict=True)] == [True] * len(
        calls
    )
    said = [line for line in lines if "confinement.partial" in line]
    assert len(said) == len(lacking)


@needs_landlock
@needs_seccomp
def test_nothing_is_missing_where_nothing_is() -> None:
    """On this computer."""
    assert shortcomings() == ()
