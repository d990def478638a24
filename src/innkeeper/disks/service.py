"""Work on disks under the service: each long operation a durable task (``IVMHardDisk``)."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from innkeeper.disks.allowed import only_within
from innkeeper.disks.check import Finding, check
from innkeeper.disks.children import INSTEAD, WRITES, is_being_merged_into, line_of, refuse_children
from innkeeper.disks.create import check_size
from innkeeper.disks.export_files import ExportOrder
from innkeeper.disks.exports import Exports
from innkeeper.disks.facts import DiskFacts, describe
from innkeeper.disks.kind import Kind
from innkeeper.disks.paths import already_there
from innkeeper.disks.ports import DiskUse, DiskUsers
from innkeeper.disks.reparent import reparent
from innkeeper.disks.roots import Roots
from innkeeper.disks.work import works_within
from innkeeper.errors import DiskError, ErrorCode, InvalidArgument
from innkeeper.tasks.service import Tasks
from innkeeper.tasks.task import CancelEffect, Task
from innkeeper.wire.events import Json

T = TypeVar("T")


class Change(enum.Enum):
    """The work of an operation on the disk that it is given."""

    #: Reads it.
    NOTHING = enum.auto()
    #: Changes the file, and leaves what a guest reads as it is.
    FILE = enum.auto()
    #: Changes what a guest reads.
    CONTENT = enum.auto()
    #: Takes the file away.
    REMOVAL = enum.auto()


class Disks:
    """Virtual hard disks in the folders of this service."""

    def __init__(self, *, tasks: Tasks, roots: Roots, users: DiskUsers, exports: Exports) -> None:
        self._tasks = tasks
        self._exports = exports
        self._users = users
        self.roots = roots
        for kind, work in works_within(roots).items():
            tasks.register(kind, work)

    # Questions

    async def list(self) -> Sequence[Path]:
        """The disks in the folders, by their names (``IVMVirtualPC::GetHardDiskFiles``)."""
        return await asyncio.to_thread(lambda: list(self.roots.files()))

    async def describe(self, path: str) -> Sequence[DiskFacts]:
        """Describe the disk and its parents, itself first (``IVMVirtualPC::GetHardDisk``)."""
        return await self._confined(lambda: describe(self._checked(path)))

    async def find_faults(self, path: str) -> Sequence[Finding]:
        """Return the findings of a quick check of the disk."""
        return await self._confined(lambda: check(self._checked(path)))

    # Commands

    async def reparent(self, path: str, parent: str, *, accept_other_id: bool = False) -> None:
        """Set the disk's parent (``IVMHardDisk::Parent``)."""
        child = await self._at(path, Change.FILE)
        base = await self._at(parent)
        await self._confined(lambda: reparent(child, base, accept_other_id=accept_other_id))

    async def create(
        self, path: str, kind: Kind, *, owner: str, size_bytes: int | None = None, parent: str | None = None
    ) -> Task:
        """Make a disk: ``size_bytes`` for a fixed or dynamic one, ``parent`` for a differencing one."""
        target = await self._new(path)
        if (kind is Kind.DIFFERENCING) != (parent is not None) or (parent is None) == (size_bytes is None):
            raise InvalidArgument("A disk is made with a size, or, a differencing one, with a parent.")
        argument: dict[str, Json] = {"path": str(target), "kind": kind.value}
        if parent is not None:
            argument["parent"] = str(await self._at(parent))
        elif size_bytes is not None:
            check_size(target, size_bytes)
            argument["size_bytes"] = size_bytes
        return await self._start("disk_create", f"Create {target.name}", argument, target, owner)

    async def compact(self, path: str, *, owner: str, free_blocks: bool = False) -> Task:
        """Give the disk's unused room back to the host (``IVMHardDisk::Compact``)."""
        disk = await self._at(path, Change.FILE)
        argument: dict[str, Json] = {"path": str(disk), "free_blocks": free_blocks}
        stops = CancelEffect.STOPS_RESUMABLE
        return await self._start("disk_compact", f"Compact {disk.name}", argument, disk, owner, stops)

    async def convert(
        self,
        path: str,
        target: str,
        kind: Kind,
        *,
        owner: str,
        source_kind: Kind | None = None,
        ignore_parent_time: bool = False,
    ) -> Task:
        """Write the disk to a new image of another kind (``IVMHardDisk::Convert``)."""
        disk, new = await self._at(path), await self._new(target)
        argument: dict[str, Json] = {"path": str(disk), "target": str(new), "kind": kind.value}
        argument["ignore_parent_time"] = ignore_parent_time
        if source_kind is not None:
            argument["source_kind"] = source_kind.value
        return await self._start("disk_convert", f"Convert {disk.name} to {new.name}", argument, new, owner)

    async def merge_to(
        self, path: str, target: str, kind: Kind, *, owner: str, ignore_parent_time: bool = False
    ) -> Task:
        """Write the disk with all of its parents to a new image (``IVMHardDisk::MergeTo``)."""
        disk, new = await self._at(path), await self._new(target)
        argument: dict[str, Json] = {
            "path": str(disk),
            "target": str(new),
            "kind": kind.value,
            "ignore_parent_time": ignore_parent_time,
        }
        return await self._start("disk_merge_to", f"Merge {disk.name} to {new.name}", argument, new, owner)

    async def merge(
        self, path: str, *, owner: str, keep_child: bool = False, ignore_parent_time: bool = False
    ) -> Task:
        """Merge the disk into its parent (``IVMHardDisk::Merge``), or finish an interrupted merge."""
        disk = await self._at(path, Change.CONTENT if keep_child else Change.REMOVAL)
        for parent in (await asyncio.to_thread(line_of, disk))[1:2]:
            if not await asyncio.to_thread(is_being_merged_into, parent):
                await self._refuse_machines_over(parent, but=disk)
        argument: dict[str, Json] = {
            "path": str(disk),
            "keep_child": keep_child,
            "ignore_parent_time": ignore_parent_time,
        }
        return await self._start("disk_merge", f"Merge {disk.name}", argument, disk, owner)

    async def resize(self, path: str, size_bytes: int, *, owner: str, lose_data: bool = False) -> Task:
        """Make the disk larger or smaller."""
        disk = await self._at(path, Change.CONTENT)
        await self._refuse_machines_over(disk)
        argument: dict[str, Json] = {"path": str(disk), "size_bytes": size_bytes, "lose_data": lose_data}
        none = CancelEffect.NONE
        return await self._start("disk_resize", f"Resize {disk.name}", argument, disk, owner, none)

    async def check(self, path: str, *, owner: str, deep: bool = False) -> Task:
        """Find everything that is wrong with the disk; the findings are in the task's log."""
        disk = await self._at(path)
        argument: dict[str, Json] = {"path": str(disk), "deep": deep}
        return await self._start("disk_check", f"Check {disk.name}", argument, disk, owner)

    async def repair(
        self, path: str, *, owner: str, deep: bool = False, size_bytes: int | None = None
    ) -> Task:
        """Repair the disk as far as possible; the changes are in the task's log.

        ``size_bytes`` is the size of a fixed disk that lost its footer.
        """
        disk = await self._at(path, Change.CONTENT)
        argument: dict[str, Json] = {"path": str(disk), "deep": deep, "size_bytes": size_bytes}
        stops = CancelEffect.STOPS_RESUMABLE
        return await self._start("disk_repair", f"Repair {disk.name}", argument, disk, owner, stops)

    # Exports

    async def exports(self) -> Sequence[ExportOrder]:
        """The disks exported by NBD now, to machines and to others."""
        return await self._exports.offered()

    async def offer(self, path: str, *, writable: bool = False, ignore_parent_time: bool = False) -> str:
        """Offer a disk by NBD, parents and all, until ``end_offer``; returns its file's path."""
        known = await asyncio.to_thread(self._checked, path)
        is_offered = any(order.path == str(known) and order.stays for order in await self._exports.offered())
        disk = known if is_offered else await self._at(path, Change.CONTENT if writable else Change.NOTHING)
        if writable and not is_offered:
            await self._refuse_machines_over(disk)
            await self._confined(lambda: refuse_children(disk, what=WRITES, advice=INSTEAD))
        await self._exports.offer(
            str(disk),
            writable=writable,
            ignore_parent_time=ignore_parent_time,
            within=tuple(map(str, self.roots.folders)),
        )
        return str(disk)

    async def end_offer(self, path: str) -> None:
        """End the export of a disk. Raises ERROR_SHARING_VIOLATION where a client delays the end."""
        disk = await asyncio.to_thread(self.roots.resolve, path)
        if not await self._exports.release(str(disk)):
            raise DiskError(
                f"{disk}: the export is in use, and ends when its last client has left.",
                path=str(disk),
                code=ErrorCode.ERROR_SHARING_VIOLATION,
                advice="End what uses it.",
            )

    def address_of(self, path: str) -> str:
        """The address of a disk's export."""
        return self._exports.address_of(path)

    # Machinery

    async def _start(
        self,
        kind: str,
        description: str,
        argument: Mapping[str, Json],
        lock: Path,
        owner: str,
        cancel_effect: CancelEffect = CancelEffect.BACK_TO_START,
    ) -> Task:
        return await self._tasks.start(
            kind, description, argument, lock=f"disk:{lock}", owner=owner, cancel_effect=cancel_effect
        )

    async def _confined(self, work: Callable[[], T]) -> T:
        """Work in a thread, opening files that images name in the service's folders alone."""
        with only_within(self.roots.allowed):
            return await asyncio.to_thread(work)

    def _checked(self, path: str) -> Path:
        found = self.roots.resolve(path)
        self.roots.check_chain(found)
        return found

    async def _at(self, path: str, change: Change = Change.NOTHING) -> Path:
        """Resolve the path of an existing disk that the service may change and no machine uses."""
        found = await asyncio.to_thread(self._checked, path)
        if not await asyncio.to_thread(found.exists):
            raise _missing(found)
        if change is not Change.NOTHING:
            for use in await self._users.users((found,)):
                _refuse_use(found, use, change)
            await self._end_export_of_machine(found)
        return found

    async def _refuse_machines_over(self, disk: Path, *, but: Path | None = None) -> None:
        """Refuse to change a disk on which a machine's disk stands, ``but`` and what is over it apart."""
        spared = {use.image for use in await self._users.users((but,))} if but is not None else set()
        for use in await self._users.users((disk,)):
            if use.image not in {disk, *spared}:
                raise DiskError(
                    f"{disk}: {use.image}, which the machine {use.machine} has, stands on this disk.",
                    path=str(disk),
                    code=ErrorCode.ERROR_SHARING_VIOLATION,
                    advice="It would read what it never wrote. Give the machine a disk of its own first: "
                    f"innkeeper disk merge-to {use.image} NEW; or write this one to a new disk instead.",
                )

    async def _end_export_of_machine(self, path: Path) -> None:
        """End a machine's export that outlasts it by a second; refuse a disk that is exported."""
        for order in await self._exports.offered():
            if order.path != str(path):
                continue
            if order.stays:
                raise DiskError(
                    f"{path}: the disk is exported by NBD.",
                    path=str(path),
                    code=ErrorCode.ERROR_SHARING_VIOLATION,
                    advice=f"End that first: innkeeper disk export {path} --end",
                )
            await self._exports.release(str(path))

    async def _new(self, path: str) -> Path:
        """Resolve the path of an image to be made, where nothing is yet."""
        target = await asyncio.to_thread(self.roots.resolve, path)
        if await asyncio.to_thread(target.exists):
            raise already_there(target)
        return target


def _missing(path: Path) -> DiskError:
    return DiskError(
        f"{path}: there is no such file.",
        path=str(path),
        code=ErrorCode.ERROR_FILE_NOT_FOUND,
        advice="innkeeper disk list shows the disks of the service.",
    )


def _refuse_use(path: Path, use: DiskUse, change: Change) -> None:
    if use.is_live:
        raise DiskError(
            f"{path}: the machine {use.machine}, which is {use.state}, has this disk.",
            path=str(path),
            code=ErrorCode.ERROR_SHARING_VIOLATION,
            advice=f"Shut it down first: innkeeper machine stop {use.machine}",
        )
    if use.under_undo_disk and change is not Change.FILE:
        raise DiskError(
            f"{path}: an undo disk of the machine {use.machine} stands on this disk.",
            path=str(path),
            code=ErrorCode.ERROR_SHARING_VIOLATION,
            advice=f"End it first: innkeeper machine undo {use.machine} --merge (or --discard)",
        )
    if change is Change.REMOVAL:
        raise DiskError(
            f"{path}: the machine {use.machine} has this disk, and a merge takes its file away.",
            path=str(path),
            code=ErrorCode.ERROR_SHARING_VIOLATION,
            advice="Keep the file with --keep-child, or give the machine the parent first.",
        )
