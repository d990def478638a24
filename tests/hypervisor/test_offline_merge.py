"""Undo disks are merged into their bases by a storage daemon, whatever fails or is killed meanwhile."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from innkeeper.disks.progress import Unwatched
from innkeeper.errors import DiskError, ErrorCode
from innkeeper.hypervisor.libvirt import offline_merge
from innkeeper.hypervisor.libvirt.chain_nodes import Undescribed
from innkeeper.hypervisor.libvirt.image_chain import ImageChain, ImageNode, LocalImage, NbdExport
from innkeeper.hypervisor.libvirt.offline_merge import merge_offline
from tests.disks.images import make_image
from tests.disks.killing import code_path

_SECRET = b"a passphrase of nobody"
_SIZE = "32M"
_WAIT_SECONDS = 30
#: Slow enough to be stopped in the middle.
_SLOWLY_MIB = 8
_OVERLAY_WRITES = ("write -P 2 1M 9M", "write -z 14M 1M", "write -P 3 23M 1M")
_LUKS = ("encrypt.format=luks", "encrypt.key-secret=key", "encrypt.iter-time=10")

Options = Mapping[str, object]


# Images


def run(*command: str | Path) -> str:
    """Run a program to its end; returns what it prints."""
    done = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def keys(*nodes: ImageNode) -> list[str]:
    """The arguments that tell QEMU's tools the passphrase."""
    secrets = [node.secret for node in nodes if node.secret is not None]
    return ["--object", f"secret,id=key,data={secrets[0].decode()}"] if secrets else []


def described(*nodes: ImageNode) -> str:
    """A chain, as an argument of QEMU's tools."""
    options: Options | None = None
    for node in reversed(nodes):
        options = {"driver": node.format, "file": dict(node.storage.options())} | (
            {"backing": options} if node.format == "qcow2" else {}
        )
        if node.secret is not None and node.format == "qcow2":
            options["encrypt"] = {"format": "luks", "key-secret": "key"}
        elif node.secret is not None:
            options["key-secret"] = "key"
    return "json:" + json.dumps(options)


def content(directory: Path, *nodes: ImageNode) -> str:
    """A digest of what a guest would read of the first, through those below it."""
    raw = directory / "content.raw"
    run("qemu-img", "convert", *keys(*nodes), "-O", "raw", described(*nodes), raw)
    return hashlib.sha256(raw.read_bytes()).hexdigest()


def written(*nodes: ImageNode, commands: tuple[str, ...]) -> None:
    """Write to the first image as a guest would."""
    run("qemu-io", *keys(*nodes), *(word for each in commands for word in ("-c", each)), described(*nodes))


def qcow2(path: Path, *options: str, secret: bytes | None = None, named: str = "") -> ImageNode:
    """A new image; one that is encrypted with a secret, and one that names another in its header."""
    chosen = [*options, *(_LUKS if secret else ())]
    over = ["-u", "-b", named, "-F", "raw"] if named else []
    node = ImageNode(storage=LocalImage(path=str(path)), format="qcow2", secret=secret)
    make_image(
        *keys(node), "-f", "qcow2", *over, *(word for each in chosen for word in ("-o", each)), path, _SIZE
    )
    return node


def raw_file(path: Path) -> ImageNode:
    """A new file of plain bytes."""
    run("qemu-img", "create", "-q", "-f", "raw", path, _SIZE)
    return ImageNode(storage=LocalImage(path=str(path)), format="raw")


def overlay_over(directory: Path, *below: ImageNode) -> ImageChain:
    """A chain whose top has much in it; its header names, if any, an image that nobody is to open."""
    named = "/nobody/opens/this" if isinstance(below[0].storage, LocalImage) else ""
    top = qcow2(directory / "undo.qcow2", named=named)
    written(top, *below, commands=_OVERLAY_WRITES)
    return ImageChain(nodes=(top, *below))


# Storages


class Server:
    """A server that offers an image by NBD, and may be ended and started again."""

    def __init__(self, socket: Path, *command: str | Path) -> None:
        self._socket, self._command = socket, list(map(str, command))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self._socket.unlink(missing_ok=True)
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + _WAIT_SECONDS
        while not self._socket.exists():
            assert self._process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def kill(self) -> None:
        """End it as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start servers, and end them with the test."""
    servers: list[Server] = []

    def serve(socket: Path, *command: str | Path) -> Server:
        servers.append(Server(socket, *command))
        servers[-1].start()
        return servers[-1]

    yield serve
    for server in servers:
        server.kill()


def failing(directory: Path, served: Callable[..., Server], error: str) -> tuple[ImageNode, Path]:
    """A base to which no write succeeds while a file is there."""
    raw_file(directory / "base.raw")
    socket, fail = directory / "nbd", directory / "fail"
    served(socket, "nbdkit", "-f", "-U", socket, "--filter=error", "file", directory / "base.raw",
           f"error={error}", "error-pwrite-rate=100%", f"error-file={fail}")  # fmt: skip
    return ImageNode(storage=NbdExport(export="", socket=str(socket)), format="raw"), fail


def below(kind: str, directory: Path, served: Callable[..., Server]) -> tuple[ImageNode, ...]:
    """A base of this kind, and what it stands on."""
    if kind == "raw":
        return (raw_file(directory / "base.raw"),)
    if kind == "clone":
        # Its clusters are larger than the overlay's: writing one fills in what is below.
        golden = qcow2(directory / "golden.qcow2")
        written(golden, commands=("write -P 1 0 24M",))
        return qcow2(directory / "base.qcow2", "cluster_size=2M"), golden
    if kind == "nbd":
        qcow2(directory / "base.qcow2")
        # A server's image does not grow.
        os.truncate(directory / "base.qcow2", 48 << 20)
        socket = directory / "nbd"
        served(
            socket,
            "qemu-nbd",
            "-t",
            "-e",
            "8",
            "-f",
            "raw",
            "-k",
            socket,
            "-x",
            "vm,1",
            directory / "base.qcow2",
        )
        return (ImageNode(storage=NbdExport(export="vm,1", socket=str(socket)), format="qcow2"),)
    return (qcow2(directory / "base, 1.qcow2"),)


@pytest.mark.parametrize("kind", ["qcow2", "raw", "clone", "nbd"])
def test_the_base_has_all_of_the_overlay(kind: str, tmp_path: Path, served: Callable[..., Server]) -> None:
    """What a guest reads of the base is what it read of the overlay, and nothing else is written."""
    base = below(kind, tmp_path, served)
    if kind != "clone":
        written(*base, commands=("write -P 1 0 16M",))
    chain = overlay_over(tmp_path, *base)
    wanted = content(tmp_path, *chain.nodes)
    untouched = [Path(n.storage.path).read_bytes() for n in (chain.nodes[0], *base[1:])]  # type: ignore[union-attr]
    watch = Heard()
    merge_offline(chain, watch=watch)
    assert content(tmp_path, *base) == wanted
    assert untouched == [Path(n.storage.path).read_bytes() for n in (chain.nodes[0], *base[1:])]  # type: ignore[union-attr]
    assert watch.told[-1][0] == watch.told[-1][1] >= 10 << 20
    assert watch.told == sorted(watch.told)


class Heard(Unwatched):
    """A watch that remembers, and does something in the middle."""

    def __init__(self, in_the_middle: Callable[[], object] = lambda: None) -> None:
        self.told: list[tuple[int, int]] = []
        self._in_the_middle: Callable[[], object] | None = in_the_middle

    def advance(self, phase: str, done: int, total: int) -> None:
        """Remember how far it is."""
        self.told.append((done, total))
        if self._in_the_middle is not None and 0 < done < total:
            act, self._in_the_middle = self._in_the_middle, None
            act()


def test_a_base_that_stands_on_more_than_is_said_is_not_written(tmp_path: Path) -> None:
    """Read without what it stands on, it would have holes of zeros."""
    golden = qcow2(tmp_path / "golden.qcow2")
    base = qcow2(tmp_path / "base.qcow2", named=str(tmp_path / "golden.qcow2"))
    chain = overlay_over(tmp_path, base, golden)
    before = (tmp_path / "base.qcow2").read_bytes()
    with pytest.raises(Undescribed, match="stands on"):
        merge_offline(ImageChain(nodes=chain.nodes[:2]))
    assert (tmp_path / "base.qcow2").read_bytes() == before


# Failures


def refused(chain: ImageChain, **options: object) -> DiskError:
    """The error of a merge that has to fail, and says what to do."""
    with pytest.raises(DiskError) as caught:
        merge_offline(chain, **options)  # type: ignore[arg-type]
    assert "can be taken up again" in caught.value.advice
    assert caught.value.path == chain.nodes[1].storage.name
    return caught.value


@pytest.mark.parametrize(
    ("error", "code", "at"),
    [
        ("ENOSPC", ErrorCode.ERROR_DISK_FULL, "the beginning"),
        ("EIO", ErrorCode.VM_E_HD_IMAGE_ACCESS, "the middle"),
    ],
)
def test_a_merge_whose_base_fails_is_taken_up_again(
    tmp_path: Path, served: Callable[..., Server], error: str, code: ErrorCode, at: str
) -> None:
    """The error is the documented one, and the overlay still has everything."""
    base, fail = failing(tmp_path, served, error)
    chain = overlay_over(tmp_path, base)
    wanted = content(tmp_path, *chain.nodes)
    if at == "the beginning":
        fail.touch()
    failure = refused(chain, mib_per_s=_SLOWLY_MIB, watch=Heard(fail.touch))
    assert failure.code == code
    assert content(tmp_path, *chain.nodes) == wanted
    fail.unlink()
    merge_offline(chain)
    assert content(tmp_path, base) == wanted


def test_a_merge_whose_server_is_killed_is_taken_up_again(
    tmp_path: Path, served: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that does not come back is waited for as long as is said, and then it is an error."""
    monkeypatch.setattr("innkeeper.hypervisor.libvirt.image_chain._CONNECT_SECONDS", 1)
    raw_file(tmp_path / "base.raw")
    socket = tmp_path / "nbd"
    server = served(socket, "nbdkit", "-f", "-U", socket, "file", tmp_path / "base.raw")
    chain = overlay_over(tmp_path, ImageNode(storage=NbdExport(export="", socket=str(socket)), format="raw"))
    wanted = content(tmp_path, *chain.nodes)
    refused(chain, mib_per_s=_SLOWLY_MIB, watch=Heard(server.kill))
    refused(chain)
    server.start()
    merge_offline(chain)
    assert content(tmp_path, chain.nodes[1]) == wanted


def daemons_of(process: int) -> list[int]:
    """The storage daemons that a process has started."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((each / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == process and "qemu-storage" in (each / "comm").read_text():
                found.append(int(each.name))
    return found


def is_alive(process: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        return "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_a_merge_whose_daemon_is_killed_is_taken_up_again(tmp_path: Path) -> None:
    """The base is half written then, the chain reads as before, and the second merge ends it."""
    base = qcow2(tmp_path / "base.qcow2")
    chain = overlay_over(tmp_path, base)
    wanted = content(tmp_path, *chain.nodes)

    def kill() -> None:
        (daemon,) = daemons_of(os.getpid())
        os.kill(daemon, signal.SIGKILL)

    assert "was killed" in refused(chain, mib_per_s=_SLOWLY_MIB, watch=Heard(kill)).sentence
    assert content(tmp_path, *chain.nodes) == wanted
    merge_offline(chain)
    assert content(tmp_path, base) == wanted


_SERVICE = """
import sys
from innkeeper.disks.progress import Unwatched
from innkeeper.hypervisor.libvirt.image_chain import ImageChain, ImageNode, LocalImage
from innkeeper.hypervisor.libvirt.offline_merge import merge_offline

class Told(Unwatched):
    def advance(self, phase, done, total):
        if done:
            print(done, flush=True)

nodes = [ImageNode(storage=LocalImage(path=path), format="qcow2") for path in sys.argv[1:]]
merge_offline(ImageChain(nodes=tuple(nodes)), mib_per_s=8, watch=Told())
"""


def test_a_daemon_does_not_outlive_the_service(tmp_path: Path) -> None:
    """kill -9 of the service in the middle ends the daemon, too; the next merge finds nobody in its way."""
    base = qcow2(tmp_path / "base.qcow2")
    chain = overlay_over(tmp_path, base)
    wanted = content(tmp_path, *chain.nodes)
    paths = [node.storage.name for node in chain.nodes]
    with subprocess.Popen(
        [sys.executable, "-c", _SERVICE, *paths], env=os.environ | code_path(), stdout=subprocess.PIPE
    ) as service:
        assert service.stdout is not None
        assert service.stdout.readline()
        (daemon,) = daemons_of(service.pid)
        service.kill()
    merge_offline(chain)
    assert not is_alive(daemon)
    assert content(tmp_path, base) == wanted


def test_a_merge_is_refused_while_another_one_is_under_way(
    tmp_path: Path, served: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where the base is on a server, where no lock would tell."""
    monkeypatch.setattr(offline_merge, "_RELEASE_SECONDS", 0)
    chain = overlay_over(tmp_path, failing(tmp_path, served, "EIO")[0])
    found: list[ErrorCode] = []
    merge_offline(chain, mib_per_s=_SLOWLY_MIB, watch=Heard(lambda: found.append(refused(chain).code)))
    assert found == [ErrorCode.ERROR_SHARING_VIOLATION]


@pytest.mark.parametrize("used", [0, 1])
def test_a_disk_in_use_is_not_merged(tmp_path: Path, served: Callable[..., Server], used: int) -> None:
    """A machine that runs on the overlay, or on the base, is never merged under."""
    chain = overlay_over(tmp_path, qcow2(tmp_path / "base.qcow2"))
    path, socket = chain.nodes[used].storage.name, tmp_path / "nbd"
    options = {"driver": "qcow2", "backing": None, "file": {"driver": "file", "filename": path}}
    served(socket, "qemu-nbd", "-t", "-k", socket, "json:" + json.dumps(options))
    before = Path(chain.nodes[1].storage.name).read_bytes()
    assert refused(chain).code == ErrorCode.ERROR_SHARING_VIOLATION
    assert Path(chain.nodes[1].storage.name).read_bytes() == before


def test_an_encrypted_disk_is_merged_and_its_passphrase_seen_nowhere(tmp_path: Path) -> None:
    """Neither on the daemon's command line, nor in its environment, nor in what is printed of a chain."""
    base = qcow2(tmp_path / "base.qcow2", secret=_SECRET)
    # An empty image is as good an overlay as one that is made as such: its header counts for nothing.
    shutil.copy(tmp_path / "base.qcow2", tmp_path / "undo.qcow2")
    top = ImageNode(storage=LocalImage(path=str(tmp_path / "undo.qcow2")), format="qcow2", secret=_SECRET)
    written(top, base, commands=_OVERLAY_WRITES)
    wanted, chain = content(tmp_path, top, base), ImageChain(nodes=(top, base))
    assert _SECRET.decode() not in repr(chain)
    bare = tuple(ImageNode(storage=node.storage, format=node.format) for node in chain.nodes)
    with pytest.raises(Undescribed, match="encrypted"):
        merge_offline(ImageChain(nodes=bare))
    seen: list[bytes] = []

    def look() -> None:
        (daemon,) = daemons_of(os.getpid())
        seen.extend(Path(f"/proc/{daemon}/{each}").read_bytes() for each in ("cmdline", "environ"))

    merge_offline(chain, mib_per_s=_SLOWLY_MIB, watch=Heard(look))
    assert len(seen) == 2
    assert not any(_SECRET in each for each in seen)
    assert content(tmp_path, base) == wanted


# Bitmaps


def changed(image: ImageNode, name: str, directory: Path, served: Callable[..., Server]) -> set[int]:
    """The MiB of an image in which one of its bitmaps has a change, as a program for backups is told."""
    socket = directory / f"bitmap-{name}"
    server = served(
        socket, "qemu-nbd", "-r", "-t", "-f", "qcow2", "-k", socket, "-B", name, image.storage.name
    )
    options = f"driver=nbd,server.type=unix,server.path={socket},x-dirty-bitmap=qemu:dirty-bitmap:{name}"
    extents = json.loads(run("qemu-img", "map", "--output=json", "--image-opts", options))
    server.kill()
    return {
        mib
        for each in extents
        if not each["data"]
        for mib in range(each["start"] >> 20, (each["start"] + each["length"] - 1 >> 20) + 1)
    }


#: The MiB that the overlay has.
_MERGED = {*range(1, 10), 14, 23}


@pytest.fixture
def backed_up(tmp_path: Path) -> tuple[ImageChain, ImageNode]:
    """A base with a checkpoint, after which it was written, under an overlay with a later checkpoint."""
    base = qcow2(tmp_path / "base.qcow2")
    run("qemu-img", "bitmap", "--add", base.storage.name, "monday")
    written(base, commands=("write -P 7 29M 1M",))
    chain = overlay_over(tmp_path, base)
    run("qemu-img", "bitmap", "--add", chain.nodes[0].storage.name, "tuesday")
    written(*chain.nodes, commands=("write -P 4 26M 1M",))
    return chain, base


def test_incremental_backups_go_on_after_a_merge(
    tmp_path: Path, served: Callable[..., Server], backed_up: tuple[ImageChain, ImageNode]
) -> None:
    """Each checkpoint tells of all that has changed since, whichever image it was begun in."""
    chain, base = backed_up
    merge_offline(chain)
    assert changed(base, "monday", tmp_path, served) == _MERGED | {26, 29}
    assert changed(base, "tuesday", tmp_path, served) >= {26}


def test_incremental_backups_go_on_after_merges_that_were_killed(
    tmp_path: Path, served: Callable[..., Server], backed_up: tuple[ImageChain, ImageNode]
) -> None:
    """QEMU leaves the base's bitmaps broken then; what they told is not lost."""
    chain, base = backed_up

    def kill() -> None:
        (daemon,) = daemons_of(os.getpid())
        os.kill(daemon, signal.SIGKILL)

    for _ in range(2):
        refused(chain, mib_per_s=_SLOWLY_MIB, watch=Heard(kill))
        info = run("qemu-img", "info", base.storage.name)
        assert "monday" not in info or "in-use" in info
    merge_offline(chain)
    assert changed(base, "monday", tmp_path, served) == _MERGED | {26, 29}
    assert changed(base, "tuesday", tmp_path, served) >= {26}
    names = re.findall(r"name: (\S+)", run("qemu-img", "info", base.storage.name))
    assert sorted(names) == ["monday", "tuesday"]


def test_a_bitmap_that_was_broken_before_is_not_called_whole(
    tmp_path: Path, backed_up: tuple[ImageChain, ImageNode]
) -> None:
    """What was not recorded is not known: the next backup has to be told."""
    chain, base = backed_up
    with subprocess.Popen(["qemu-io", "-f", "qcow2", base.storage.name], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as crashing:  # fmt: skip
        assert crashing.stdin is not None
        assert crashing.stdout is not None
        crashing.stdin.write(b"write 0 64k\nflush\n")
        crashing.stdin.flush()
        crashing.stdout.readline()
        crashing.kill()
    assert "in-use" in run("qemu-img", "info", base.storage.name)
    merge_offline(chain)
    assert "in-use" in run("qemu-img", "info", base.storage.name)
