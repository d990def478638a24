"""Merge a differencing disk into its parent (``IVMHardDisk::Merge``).

Once the first byte of the parent may have changed, the merge can only be finished. It can be finished after
any interruption: the child keeps everything until the parent has it durably, and a note in the parent says
how far it came. Files that were restored from a backup meanwhile have no such note, or an older one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from innkeeper.disks import journal
from innkeeper.disks.chain import Chain, open_chain
from innkeeper.disks.children import refuse_children
from innkeeper.disks.file import ImageFile
from innkeeper.disks.image import Image
from innkeeper.disks.journal import MergeJournal, MergeState
from innkeeper.disks.kind import Kind
from innkeeper.disks.mark import Mark, Operation
from innkeeper.disks.oserror import adapted
from innkeeper.disks.paths import check_folder, image_path, shell, sync_folder
from innkeeper.disks.progress import UNWATCHED, Watch, stop_if_asked
from innkeeper.disks.reparent import stamp_parent
from innkeeper.errors import DiskError, ErrorCode

#: How much is merged between two entries of the journal: what at most is done again after a crash.
CHECKPOINT_BYTES = 256 << 20


def merge(
    path: str | os.PathLike[str],
    *,
    watch: Watch = UNWATCHED,
    keep_child: bool = False,
    ignore_parent_time: bool = False,
) -> Path:
    """Merge a child into its parent, or finish a merge that was interrupted; returns the parent's path.

    The child's file is removed at the end, unless ``keep_child``. Raises, with the parent untouched:
    VM_E_WRONG_HD_IMAGE_TYPE, VM_E_FILE_READ_ONLY, VM_E_PARENT_PATH_NOT_FOUND, VM_E_PARENT_MODIFIED,
    ERROR_SHARING_VIOLATION, also where other disks stand on the parent or on a child that would go,
    ERROR_DISK_FULL. An error after the beginning leaves the merge to be finished by a later call.
    """
    child_path = image_path(path)
    with ImageFile.open(child_path) as file:
        check_differencing(file, Image(file).kind)
    chain = open_chain(child_path, ignore_parent_time=ignore_parent_time, merging=True)
    with contextlib.closing(chain):
        if not keep_child:
            check_folder(Path(os.path.realpath(child_path)).parent)
        return _Merge(chain, watch).run(keep_child=keep_child)


def check_differencing(file: ImageFile, kind: Kind) -> None:
    """Refuse a disk without parent, as documented."""
    if kind is not Kind.DIFFERENCING:
        raise DiskError(
            f"{file.path}: only a differencing disk can be merged, and this one is {kind.value}.",
            path=str(file.path),
            code=ErrorCode.VM_E_WRONG_HD_IMAGE_TYPE,
            advice="Name the child, not the parent.",
        )


class _Merge:
    """One run of a merge: the child, and the disk below it."""

    def __init__(self, chain: Chain, watch: Watch) -> None:
        self.child = chain.layers[0]
        self.below = Chain(chain.layers[1:])
        self.parent = self.below.top
        self.watch = watch
        self.total = 0
        self.done = 0

    def run(self, *, keep_child: bool) -> Path:
        begun = self._look()
        if begun is None:
            begun = self._begin(keep_child=keep_child)
        else:
            self.total = sum(length for _, length in self._to_merge(0))
            self.watch.past_return()
            if begun.token is None:
                begun = self._note(dataclasses.replace(begun, token=uuid.uuid4()))
        if begun.state is MergeState.BEGUN:
            begun = self._copy(begun)
        self._finish(keep_child=keep_child)
        return self.parent.file.path

    def _look(self) -> MergeJournal | None:
        """Look whether this merge has begun already; another one must be finished first."""
        begun = journal.begun_in(self.parent)
        if begun is None or journal.is_child_of(begun, self.child):
            return begun
        if begun.is_over:
            return None
        raise journal.half_merged(self.parent.file.path, begun)

    def _begin(self, *, keep_child: bool) -> MergeJournal:
        """Check that the merge can succeed, and record that it begins."""
        if self.child.size_bytes > self.parent.size_bytes:
            raise DiskError(
                f"{self.child.file.path}: the disk is larger than its parent.",
                path=str(self.child.file.path),
                code=ErrorCode.VM_E_WRONG_HD_IMAGE_TYPE,
                advice="Merge it to a new disk instead: innkeeper disk merge-to",
            )
        self._refuse_others(keep_child=keep_child)
        self._check_room()
        stop_if_asked(self.watch, str(self.child.file.path))
        self.watch.past_return()
        return self._note(
            MergeJournal(
                state=MergeState.BEGUN,
                child_id=self.child.layout.footer.unique_id,
                parent_id=self.parent.layout.footer.unique_id,
                child=self.child.file.path,
                token=uuid.uuid4(),
            )
        )

    def _refuse_others(self, *, keep_child: bool) -> None:
        """Refuse what would change, or lose its parent, without being asked about."""
        child, parent = self.child.file.path, self.parent.file.path
        aside = f"Write this disk to a new one instead: innkeeper disk merge-to {shell(child)} NEW."
        refuse_children(parent, child, what="they would read what is merged into it", advice=aside)
        if not keep_child:
            refuse_children(
                child,
                folders=[parent.parent],
                what="the merge takes its file away",
                advice="Merge that one first, or keep the file with --keep-child.",
            )

    def _note(self, begun: MergeJournal) -> MergeJournal:
        """Record that the merge begins: the child's note, then the parent's, which counts, then the file."""
        assert begun.token is not None
        try:
            self.child.put_mark(Mark(operation=Operation.MERGING_FROM, token=begun.token))
            self.parent.put_mark(begun.mark)
            begun.write(self.parent.file.path)
        except DiskError:
            # Nothing is merged yet: a host that takes no journal has its disks as they were.
            self.parent.put_mark(None)
            self.child.put_mark(None)
            raise
        return begun

    def _check_room(self) -> None:
        """Refuse, before the merge begins, what the host has no room for."""
        needed = 0
        for offset, length in self._to_merge(0):
            stop_if_asked(self.watch, str(self.child.file.path))
            self.total += length
            needed += sum(part for _, part, place in self.parent.runs(offset, length) if place is None)
        if self.parent.table is None:
            status = self.parent.file.status()
            needed = min(self.total, max(0, status.st_size - status.st_blocks * 512))
        with adapted(self.parent.file.path):
            room = os.fstatvfs(self.parent.file.descriptor)
        if needed > room.f_bavail * room.f_frsize:
            raise DiskError(
                f"{self.parent.file.path}: the merge needs {needed:,} bytes, more than the host has left.",
                path=str(self.parent.file.path),
                code=ErrorCode.ERROR_DISK_FULL,
                advice="Free some space and try again. Nothing was changed.",
            )

    def _to_merge(self, start: int) -> Iterator[tuple[int, int]]:
        """List what the child holds from ``start`` on: (offset, length)."""
        size = self.child.size_bytes
        return (
            (at, length) for at, length, place in self.child.runs(start, size - start) if place is not None
        )

    def _copy(self, begun: MergeJournal) -> MergeJournal:
        """Copy what is not merged yet, recording the progress now and then."""
        self.parent.file.will_be_synced = True
        self.done = self.total - sum(length for _, length in self._to_merge(begun.done))
        since = 0
        size = self.child.size_bytes
        for offset, length, place in self.child.runs(begun.done, size - begun.done):
            if place is None:
                continue
            self._copy_run(offset, length, place)
            self.done, since = self.done + length, since + length
            self.watch.advance("merging", self.done, self.total)
            if since >= CHECKPOINT_BYTES:
                self.below.flush()
                begun = dataclasses.replace(begun, done=offset + length)
                self.parent.put_mark(begun.mark)
                since = 0
        self.below.flush()
        merged = dataclasses.replace(begun, state=MergeState.MERGED, done=size)
        merged.write(self.parent.file.path)
        self.parent.put_mark(merged.mark)
        return merged

    def _copy_run(self, offset: int, length: int, place: int) -> None:
        """Copy one stretch; holes of the child's file become zeros that take no room."""
        end = place + length
        for at, part in self.child.file.data_extents(place, length):
            if at > place:
                self.below.zero(offset, at - place)
            self.parent.copy_from(self.child.file, at, offset + at - place, part)
            offset, place = offset + at - place + part, at + part
        if place < end:
            self.below.zero(offset, end - place)

    def _finish(self, *, keep_child: bool) -> None:
        """Remove the child, whose changes the parent has, and then the notes."""
        if keep_child:
            stamp_parent(self.child, self.parent)
            self.parent.put_mark(None)
            self.child.put_mark(None)
        else:
            self._remove_child()
            self.parent.put_mark(None)
        journal.remove(self.parent.file.path)

    def _remove_child(self) -> None:
        """Remove the child's file, and the link to it by which it was named."""
        path = self.child.file.path
        with adapted(path):
            real = Path(os.path.realpath(path))
            # Another file that was put in its place meanwhile is somebody's.
            if real.exists() and self.child.file.is_at(real):
                real.unlink(missing_ok=True)
            sync_folder(real.parent)
            if path.is_symlink():
                path.unlink(missing_ok=True)
        self.child.file.close_aside()
