"""Inspect and convert images of QEMU's own formats by ``qemu-img``.

An image is never opened by guess, and never with what it names in other files: a backing file in a hostile
image could be any file of the host. It is read here first, then handed over as an open file, so that nothing
can take its place between the two.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from innkeeper.disks import qemu_program
from innkeeper.disks.confined.reach import Reach, Sockets
from innkeeper.disks.file import ImageFile
from innkeeper.disks.kind import Kind
from innkeeper.disks.named_files import NamedFiles, named_files
from innkeeper.disks.paths import shell
from innkeeper.disks.private_place import private_place
from innkeeper.disks.progress import UNWATCHED, Watch
from innkeeper.disks.qemu_program import LOOK, Limits
from innkeeper.errors import DiskError, ErrorCode

#: QEMU's names for the formats.
DRIVERS = {Kind.RAW: "raw", Kind.QCOW2: "qcow2", Kind.VHDX: "vhdx", Kind.VMDK: "vmdk"}

#: More than the steps in which a kernel tells times of files.
_TICK_NS = 20_000_000
_PERCENT = re.compile(rb"\((\d+(?:\.\d+)?)/100%\)")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """The facts that ``qemu-img`` gives of an image."""

    virtual_size: int
    #: 0 where it has none.
    cluster_bytes: int
    #: The files that it names.
    named: NamedFiles


class Source:
    """An image that is read: open, held against writers, and standing alone."""

    def __init__(self, file: ImageFile, kind: Kind) -> None:
        self.file = file
        self.kind = kind
        self._state = _stored_state(file)

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path, kind: Kind) -> Iterator[Source]:
        """Open an image; raises VM_E_WRONG_HD_IMAGE_TYPE, before reading, where it needs other files."""
        with ImageFile.open(path) as file:
            source = cls(file, kind)
            for name in named_files(file, kind):
                raise _other_files(path, kind, name)
            try:
                yield source
            except DiskError:
                # One that was changed names what it likes, and whoever reads it is refused that.
                source.require_unchanged()
                raise

    def require_unchanged(self) -> None:
        """Raise where the image was written since it was opened: another one than was looked at was read."""
        if _state(self.file) != self._state:
            raise DiskError(
                f"{self.file.path}: the image was changed while it was read.",
                path=str(self.file.path),
                code=ErrorCode.ERROR_SHARING_VIOLATION,
                advice="Stop what writes to it, and try again.",
            )

    @property
    def node(self) -> str:
        """The image as an argument of QEMU's tools: every option given, nothing else opened."""
        return node(self.file, self.kind)

    @property
    def virtual_size(self) -> int:
        """The size of the disk in it."""
        return _asked(self.file, self.kind).virtual_size


def _stored_state(file: ImageFile) -> tuple[int, int, int]:
    """Return what tells this state of a file from any later one, whoever may write to it without a lock."""
    # What is stored is protected by the kernel: to write it again, by a mapping too, changes the time.
    file.sync()
    state = _state(file)
    if abs(time.time_ns() - state[0]) < _TICK_NS:
        # Times go by ticks: until the next one a write would not show. The look at the image comes after it.
        time.sleep(_TICK_NS / 1e9)
    return state


def _state(file: ImageFile) -> tuple[int, int, int]:
    status = file.status()
    return status.st_ctime_ns, status.st_mtime_ns, status.st_size


def node(file: ImageFile, kind: Kind) -> str:
    """An open image as an argument of QEMU's tools, which get its descriptor."""
    storage = {"driver": "file", "filename": f"/proc/self/fd/{file.descriptor}"}
    return "json:" + json.dumps({"driver": DRIVERS[kind], "backing": None, "file": storage})


def new_file(path: Path) -> str:
    """Return the argument by which QEMU's tools make a file, whatever its name looks like."""
    return f"file:{path}"


def look(path: Path, kind: Kind) -> Look:
    """Inspect one image that may be in use, opening no other file that it names."""
    with ImageFile.open(path, held=False) as file:
        named = named_files(file, kind)
        if named.data:
            raise _other_files(path, kind, named.data[0])
        return dataclasses.replace(_asked(file, kind), named=named)


def convert(source: Path, source_kind: Kind, target: Path, kind: Kind, *, watch: Watch) -> Path:
    """Convert between formats of QEMU's own."""
    with Source.open(source, source_kind) as opened:
        reach = Reach(reads=(opened.file.descriptor,))
        return _to_new_file(
            opened.node, reach, opened.virtual_size, target, kind, watch, opened.require_unchanged
        )


def convert_url(url: str, size: int, target: Path, kind: Kind, *, watch: Watch) -> Path:
    """Convert what an NBD export offers into a format of QEMU's own."""
    return _to_new_file(_nbd(url), Reach(sockets=Sockets.LOCAL), size, target, kind, watch)


def convert_into_url(source: Source, url: str, *, watch: Watch) -> None:
    """Convert an image into what an NBD export takes; the export reads as zero."""
    arguments = ["convert", "-p", "-n", "--target-is-zero", "-O", "raw", source.node, _nbd(url)]
    files = (source.file.descriptor,)
    reach = Reach(reads=files, sockets=Sockets.LOCAL)
    run(arguments, source.file.path, source.virtual_size, reach=reach, files=files, watch=watch)
    source.require_unchanged()


def run(
    arguments: Sequence[str],
    path: Path,
    size: int,
    *,
    reach: Reach,
    files: Sequence[int] = (),
    watch: Watch = UNWATCHED,
) -> None:
    """Run ``qemu-img`` for work on an image of this size, passing on its progress."""
    qemu_program.run(
        qemu_program.IMAGE,
        arguments,
        path,
        Limits.for_bytes(size),
        reach=reach,
        files=files,
        watch=watch,
        on_output=_progress(size, watch),
    )


def _progress(size: int, watch: Watch) -> Callable[[bytes], None]:
    def hear(printed: bytes) -> None:
        if percents := _PERCENT.findall(printed[-256:]):
            watch.advance("converting", int(size * float(percents[-1]) / 100), size)

    return hear


def _to_new_file(
    source: str,
    reach: Reach,
    size: int,
    target: Path,
    kind: Kind,
    watch: Watch,
    require_unchanged: Callable[[], None] = lambda: None,
) -> Path:
    """Write to a hidden place, and give the file its name when it is whole."""
    with private_place(target) as place:
        arguments = ["convert", "-p", "-O", DRIVERS[kind], source, new_file(place.inherited)]
        # Its descriptors are those that it opens by them.
        files = (*(each for each in reach.reads if isinstance(each, int)), place.folder)
        reach = dataclasses.replace(reach, writes=(place.folder,))
        run(arguments, target, size, reach=reach, files=files, watch=watch)
        require_unchanged()
        watch.past_return()
        place.publish()
    return target


def _nbd(url: str) -> str:
    """An export of ours as an argument of QEMU's tools, by its address."""
    parts = urlsplit(url)
    server = {"type": "unix", "path": unquote(parts.query.removeprefix("socket="))}
    file = {"driver": "nbd", "export": unquote(parts.path.removeprefix("/")), "server": server}
    return "json:" + json.dumps({"driver": "raw", "file": file})


def _asked(file: ImageFile, kind: Kind) -> Look:
    command = ["info", "-U", "--output=json", node(file, kind)]
    files = (file.descriptor,)
    reach = Reach(reads=files)
    printed = qemu_program.run(qemu_program.IMAGE, command, file.path, LOOK, reach=reach, files=files)
    try:
        facts = json.loads(printed)
        return Look(
            virtual_size=int(facts["virtual-size"]),
            cluster_bytes=int(facts.get("cluster-size") or 0),
            named=NamedFiles(),
        )
    except (ValueError, KeyError, TypeError) as exc:
        raise DiskError(f"{file.path}: qemu-img printed something unexpected.", path=str(file.path)) from exc


def _other_files(path: Path, kind: Kind, name: str) -> DiskError:
    return DiskError(
        f"{path}: the image is completed by another file that it names, {name}.",
        path=str(path),
        code=ErrorCode.VM_E_WRONG_HD_IMAGE_TYPE,
        advice="Make it whole first, if you trust it and all that it names: "
        f"qemu-img convert -f {DRIVERS[kind]} -O qcow2 {shell(path)} WHOLE.qcow2",
    )
