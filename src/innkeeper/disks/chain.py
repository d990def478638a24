"""Read and write a disk through its chain of images: a child, its parent, and so on to the root."""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from innkeeper.disks import allowed, journal
from innkeeper.disks.file import ImageFile
from innkeeper.disks.footer import vhd_time
from innkeeper.disks.formats import refuse_unnamed
from innkeeper.disks.geometry import SECTOR
from innkeeper.disks.image import Image
from innkeeper.disks.kind import Kind
from innkeeper.disks.layout import Layout, invalid
from innkeeper.disks.locator import candidates
from innkeeper.disks.paths import shell
from innkeeper.disks.slots import SlotMap
from innkeeper.disks.zeros import is_zero
from innkeeper.errors import DiskError, ErrorCode

#: Deeper chains are refused: each layer is an open file and a place to look.
DEEPEST = 64

#: Part of a disk: (offset, length, the image that has it or ``None`` for zeros, place in its file).
Segment = tuple[int, int, Image | None, int]

_NOT_THERE = {ErrorCode.ERROR_FILE_NOT_FOUND, ErrorCode.ERROR_PATH_NOT_FOUND}


class Chain:
    """The layers of one disk, the child first, and the disk they make together.

    The lock is for whoever uses a chain from several threads. Bytes are moved without it: while an image is
    open its blocks stay where they are.
    """

    def __init__(self, layers: Sequence[Image]) -> None:
        self.layers = tuple(layers)
        self.top = self.layers[0]
        self.lock = threading.RLock()

    @property
    def size_bytes(self) -> int:
        """The size of the disk in the guest."""
        return self.top.size_bytes

    # Reading

    def segments(self, offset: int, length: int, level: int = 0) -> Iterator[Segment]:
        """List the image that has each part of a range, in order; only images below ``level`` count."""
        end = offset + length
        if level < len(self.layers):
            image = self.layers[level]
            for start, part, place in image.runs(offset, length):
                if place is None:
                    yield from self.segments(start, part, level + 1)
                else:
                    yield start, part, image, place
                offset = start + part
        if offset < end:
            # Past the end of a parent that is smaller than its child there is nothing.
            yield offset, end - offset, None, 0

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill the buffer from the disk; the range lies inside it."""
        with self.lock:
            segments = list(self.segments(offset, len(buffer)))
        for start, length, image, place in segments:
            part = buffer[start - offset : start - offset + length]
            if image is None:
                part[:] = bytes(length)
            else:
                image.file.read_into(part, place)

    def extents(self, offset: int, length: int) -> Iterator[tuple[int, int, bool]]:
        """Split a range into stretches of data and of unstored zeros: (offset, length, is data)."""
        waiting = (offset, 0, False)
        for start, part, data in self._stretches(offset, length):
            if data == waiting[2] or not waiting[1]:
                waiting = (waiting[0], waiting[1] + part, data)
            else:
                yield waiting
                waiting = (start, part, data)
        if waiting[1]:
            yield waiting

    def _stretches(self, offset: int, length: int) -> Iterator[tuple[int, int, bool]]:
        for start, part, image, place in self.segments(offset, length):
            done = 0
            if image is not None:
                for data_place, data_length in image.file.data_extents(place, part):
                    at = data_place - place
                    if at > done:
                        yield start + done, at - done, False
                    yield start + at, data_length, True
                    done = at + data_length
            if done < part:
                yield start + done, part - done, False

    def is_zero(self, offset: int, length: int, level: int = 0) -> bool:
        """Return whether no image from ``level`` down has anything in the range."""
        return all(image is None for _, _, image, _ in self.segments(offset, length, level))

    # Writing, into the top image alone

    def write(self, data: memoryview, offset: int) -> None:
        """Write any range: whole sectors directly, partial ones together with their surroundings."""
        head = -offset % SECTOR
        if head or len(data) < SECTOR:
            data, offset = self._write_edge(data, offset)
        whole = len(data) // SECTOR * SECTOR
        if whole:
            self._write_sectors(data[:whole], offset)
        if len(data) > whole:
            self._write_edge(data[whole:], offset + whole)

    def _write_edge(self, data: memoryview, offset: int) -> tuple[memoryview, int]:
        """Write the part of the data that falls into one sector; returns the rest."""
        inner = offset % SECTOR
        part = min(SECTOR - inner, len(data))
        if part:
            sector = memoryview(bytearray(SECTOR))
            self.read_into(sector, offset - inner)
            sector[inner : inner + part] = data[:part]
            self._write_sectors(sector, offset - inner)
        return data[part:], offset + part

    def _write_sectors(self, data: memoryview, offset: int) -> None:
        """Write whole sectors; zeros over an empty range take no room."""
        block_bytes, done = self.top.block_bytes, 0
        while done < len(data):
            at = offset + done
            part = data[done : done + min(len(data) - done, block_bytes - at % block_bytes)]
            if self._holds(at) or not self.is_zero(at, len(part), 1) or not is_zero(part):
                self.top.write(part, at)
            done += len(part)

    def _holds(self, offset: int) -> bool:
        return self.top.table is None or self.top.place(offset // self.top.block_bytes) is not None

    def zero(self, offset: int, length: int) -> None:
        """Make a range read as zero, taking room only where other data would be read."""
        first, last = -(-offset // SECTOR) * SECTOR, (offset + length) // SECTOR * SECTOR
        if first >= last:
            self.write(memoryview(bytes(length)), offset)
            return
        self.write(memoryview(bytes(first - offset)), offset)
        for start, part, image, _ in list(self.segments(first, last - first)):
            if image is not None:
                self.top.zero(start, part)
        self.write(memoryview(bytes(offset + length - last)), last)

    def discard(self, offset: int, length: int) -> None:
        """Give back the room of a range that is not needed; it reads as zero or as before."""
        first, last = -(-offset // SECTOR) * SECTOR, (offset + length) // SECTOR * SECTOR
        if first < last:
            self.top.discard(first, last - first)

    def flush(self) -> None:
        """Make everything written so far durable."""
        if self.top.file.writable:
            self.top.flush()

    def close(self) -> None:
        """Flush and close every layer, the child first."""
        with contextlib.ExitStack() as stack:
            for image in reversed(self.layers):
                stack.callback(image.close)


def open_chain(
    path: Path,
    *,
    writable: bool = False,
    ignore_parent_time: bool = False,
    merging: bool = False,
    held: bool = True,
    is_known: bool = False,
) -> Chain:
    """Open a disk with all its parents; parents are read-only, but for the one that is merged into.

    Raises ``DiskError``: VM_E_INVALID_HD_FILE, VM_E_PARENT_PATH_NOT_FOUND, VM_E_PARENT_CHILD_ID_MISMATCH,
    VM_E_PARENT_MODIFIED, ERROR_SHARING_VIOLATION and those of the files themselves. ``merging`` opens child
    and parent for the merge of the one into the other, even where it has begun already. A chain that is not
    ``held`` is for a look at what others may be changing. ``is_known``: a person or a definition says that
    the disk is a VHD, although its name does not (``refuse_unnamed``).
    """
    with contextlib.ExitStack() as stack:
        layers = [_opened(stack, path, writable=writable or merging, held=held, is_known=is_known)]
        seen = {layers[0].file.identity}
        while layers[-1].kind is Kind.DIFFERENCING:
            if len(layers) == DEEPEST:
                raise invalid(layers[0].file, f"its chain is deeper than {DEEPEST} disks")
            writes = merging and len(layers) == 1
            parent = _find_parent(stack, layers[-1], seen, writable=writes, held=held)
            seen.add(parent.file.identity)
            layers.append(parent)
        if not merging:
            _refuse_half_merged(layers)
        if not ignore_parent_time:
            for child, parent in itertools.pairwise(layers):
                if not _is_merging(child, parent):
                    _check_time(child, parent)
        stack.pop_all()
        return Chain(layers)


def _opened(
    stack: contextlib.ExitStack, path: Path, *, writable: bool, held: bool, is_known: bool = True
) -> Image:
    file = ImageFile.open(path, writable=writable, held=held)
    stack.callback(file.close)
    if not is_known:
        refuse_unnamed(file)
    image = Image(file)
    if writable:
        # Nothing is ever written into an image whose blocks are not where they should be.
        SlotMap(image)
        image.take_over()
        image.finish_growth()
        _forget_merge(image)
    return image


def _forget_merge(image: Image) -> None:
    """Remove the traces of a merge that needs no further work."""
    begun = journal.begun_in(image)
    if begun is not None and begun.is_over:
        image.put_mark(None)
        journal.remove(image.file.path)


def _find_parent(
    stack: contextlib.ExitStack, child: Image, seen: set[tuple[int, int]], *, writable: bool, held: bool
) -> Image:
    """Open the first candidate that has the identity the child asks for."""
    assert child.layout.header is not None
    problem: DiskError | None = None
    places = candidates(child.file, child.layout.header)
    for place in places:
        if (outside := allowed.refused(place, child.file.path)) is not None:
            problem = problem or outside
            continue
        try:
            _refuse_circle(child, place, seen)
            with contextlib.ExitStack() as attempt:
                parent = _opened(attempt, place, writable=writable, held=held)
                _check_identity(child, parent.layout, place)
                stack.push(attempt.pop_all())
                return parent
        except DiskError as exc:
            problem = problem if _is_said(problem) or exc.code in _NOT_THERE else exc
    raise problem or DiskError(
        f"{child.file.path}: its parent is not found.",
        path=str(child.file.path),
        code=ErrorCode.VM_E_PARENT_PATH_NOT_FOUND,
        advice="Looked for: "
        + (", ".join(map(str, places)) or "nothing, as the disk names no parent")
        + f". Tell where it is: innkeeper disk reparent {shell(child.file.path)} PARENT",
    )


def _is_said(problem: DiskError | None) -> bool:
    """Return whether a warning about the parent is known already: a parent found says more than a path."""
    return problem is not None and problem.code is not ErrorCode.ERROR_BAD_PATHNAME


def _refuse_circle(child: Image, place: Path, seen: set[tuple[int, int]]) -> None:
    with contextlib.suppress(OSError, ValueError):
        status = os.stat(place)  # noqa: PTH116 - takes surrogates as they are
        if (status.st_dev, status.st_ino) in seen:
            raise invalid(child.file, f"its chain goes in a circle, back to {place}")


def _check_identity(child: Image, parent: Layout, place: Path) -> None:
    assert child.layout.header is not None
    if parent.footer.unique_id != child.layout.header.parent_id:
        raise DiskError(
            f"{place}: it is not the disk that {child.file.path.name} was made from.",
            path=str(child.file.path),
            code=ErrorCode.VM_E_PARENT_CHILD_ID_MISMATCH,
            advice=f"Put the right parent back: innkeeper disk reparent {shell(child.file.path)} PARENT",
        )


def _check_time(child: Image, parent: Image) -> None:
    assert child.layout.header is not None
    begun = journal.begun_in(parent)
    if begun is not None and not begun.is_over:
        # Of another child: that says more than the time that it changed.
        raise journal.half_merged(parent.file.path, begun)
    if parent_time(parent.file) != child.layout.header.parent_timestamp:
        raise DiskError(
            f"{parent.file.path}: the parent was changed after {child.file.path.name} was made.",
            path=str(child.file.path),
            code=ErrorCode.VM_E_PARENT_MODIFIED,
            advice="To read it as it is: --ignore-parent-time. If only its time changed, as by a copy: "
            f"innkeeper disk reparent {shell(child.file.path)} {shell(parent.file.path)}",
        )


def parent_time(file: ImageFile) -> int:
    """Take a parent's modification time as a child records it."""
    return vhd_time(file.status().st_mtime)


def _is_merging(child: Image, parent: Image) -> bool:
    """Return whether this child is being merged into this parent, whose time changes with every byte."""
    begun = journal.begun_in(parent)
    return journal.is_kept(child, parent) if begun is None else journal.is_child_of(begun, child)


def _refuse_half_merged(layers: Sequence[Image]) -> None:
    """Refuse what a begun merge forbids: the parent without its child, and writes to the child."""
    child: Image | None = None
    for image in layers:
        begun = journal.begun_in(image)
        if begun is not None:
            is_merging_child = child is not None and journal.is_child_of(begun, child)
            takes_writes = is_merging_child and child is layers[0] and layers[0].file.writable
            if takes_writes or not (is_merging_child or begun.is_over):
                raise journal.half_merged(image.file.path, begun)
        child = image
