"""Work on the virtual hard disks of a service (``IVMHardDisk``)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import TypeVar

from pydantic import BaseModel

from innkeeper.client.calls import disks as calls
from innkeeper.client.tasks import Task
from innkeeper.client.transport import Transport
from innkeeper.errors import InvalidArgument
from innkeeper.wire import disks as wire
from innkeeper.wire.states import DiskFormat, HardDiskType

Said = TypeVar("Said", bound=BaseModel)
DiskPath = str | os.PathLike[str]

_TYPES = {
    DiskFormat.DYNAMIC: HardDiskType.DYNAMIC,
    DiskFormat.FIXED: HardDiskType.FIXED_SIZE,
    DiskFormat.DIFFERENCING: HardDiskType.DIFFERENCING,
    DiskFormat.RAW: HardDiskType.FIXED_SIZE,
}
_BY_TYPE = {known: name for name, known in _TYPES.items() if name is not DiskFormat.RAW}
_FINDING = re.compile(
    r"(?P<sentence>.*) \[(?P<problem>\w+) (?P<code>0x[0-9a-f]+)(?: block (?P<block>\d+))?\]"
)
_HARMLESS = frozenset({"hidden_data", "unused_room"})


class HardDisk:
    """One virtual hard disk on the service's computer; its members are read when they are asked for.

    Members raise ``DiskError`` with the documented identifiers; what goes wrong in a task is in the task.
    """

    def __init__(self, transport: Transport, file: str) -> None:
        self._transport = transport
        self._file = file

    def __repr__(self) -> str:
        return f"<HardDisk {self.file}>"

    @property
    def file(self) -> str:
        """The full path of the image (``IVMHardDisk::File``)."""
        return self._file

    def read(self) -> wire.HardDiskMessage:
        """All that is known of it now."""
        return _ask(self._transport, "info", wire.HardDiskMessage, path=self.file)

    @property
    def kind(self) -> DiskFormat:
        """The kind of the image."""
        return self.read().kind

    @property
    def type(self) -> HardDiskType:
        """The documented type (``IVMHardDisk::Type``); of other formats, by whether it has a parent."""
        message = self.read()
        if message.kind in _TYPES:
            return _TYPES[message.kind]
        return HardDiskType.DIFFERENCING if message.parent else HardDiskType.DYNAMIC

    @property
    def parent(self) -> HardDisk | None:
        """The disk it differs from (``IVMHardDisk::Parent``); set it to say where that is now."""
        found = self.read().parent
        return HardDisk(self._transport, found) if found else None

    @parent.setter
    def parent(self, parent: HardDisk | DiskPath) -> None:
        self.reparent(parent)

    @property
    def size_in_guest(self) -> int:
        """The size of the disk in the guest, in bytes (``IVMHardDisk::SizeInGuest``)."""
        return self.read().size_in_guest

    @property
    def size_on_host(self) -> int:
        """The length of the image's file, in bytes (``IVMHardDisk::SizeOnHost``)."""
        return self.read().size_on_host

    @property
    def host_free_disk_space(self) -> int:
        """The room left where the image lies, in bytes (``IVMHardDisk::HostFreeDiskSpace``)."""
        return self.read().host_free_disk_space

    @property
    def chain(self) -> Sequence[wire.HardDiskMessage]:
        """The disk and its parents, itself first."""
        return _ask(self._transport, "chain", wire.ChainMessage, path=self.file).disks

    def find_faults(self) -> Sequence[wire.FindingMessage]:
        """Return what a quick check finds wrong with the disk."""
        return _ask(self._transport, "faults", wire.FindingList, path=self.file).findings

    def reparent(self, parent: HardDisk | DiskPath, *, accept_other_id: bool = False) -> None:
        """Set the disk's parent, and record its time; raises VM_E_PARENT_CHILD_ID_MISMATCH."""
        place = parent.file if isinstance(parent, HardDisk) else os.fspath(parent)
        request = wire.ReparentRequest(path=self.file, parent=place, accept_other_id=accept_other_id)
        self._transport.send(calls.reparent(request))

    # Long operations

    def compact(self, *, free_blocks: bool = False) -> Task:
        """Give the host back what it does not need (``IVMHardDisk::Compact``)."""
        return _start(
            self._transport, "compact", wire.CompactRequest(path=self.file, free_blocks=free_blocks)
        )

    def convert(
        self,
        path: DiskPath,
        kind: DiskFormat | HardDiskType | int | str,
        *,
        source_kind: DiskFormat | str | None = None,
        ignore_parent_time: bool = False,
    ) -> Task:
        """Write it to a new image of another kind (``IVMHardDisk::Convert``)."""
        request = wire.ConvertRequest(
            path=self.file,
            target=os.fspath(path),
            kind=_format(kind),
            source_kind=DiskFormat(source_kind) if source_kind is not None else None,
            ignore_parent_time=ignore_parent_time,
        )
        return _start(self._transport, "convert", request)

    def merge(self, *, keep_child: bool = False, ignore_parent_time: bool = False) -> Task:
        """Merge it into its parent (``IVMHardDisk::Merge``); its file is removed, unless ``keep_child``."""
        request = wire.MergeRequest(
            path=self.file, keep_child=keep_child, ignore_parent_time=ignore_parent_time
        )
        return _start(self._transport, "merge", request)

    def merge_to(
        self,
        path: DiskPath,
        kind: DiskFormat | HardDiskType | int | str = DiskFormat.DYNAMIC,
        *,
        ignore_parent_time: bool = False,
    ) -> Task:
        """Write it and all of its parents to a new image (``IVMHardDisk::MergeTo``)."""
        request = wire.MergeToRequest(
            path=self.file,
            target=os.fspath(path),
            kind=_format(kind),
            ignore_parent_time=ignore_parent_time,
        )
        return _start(self._transport, "merge-to", request)

    def resize(self, size_bytes: int, *, lose_data: bool = False) -> Task:
        """Make it larger or smaller."""
        request = wire.ResizeRequest(path=self.file, size_bytes=size_bytes, lose_data=lose_data)
        return _start(self._transport, "resize", request)

    def check(self, *, deep: bool = False) -> Task:
        """Look for everything that can be wrong with it; ``findings_of`` reads what the task found."""
        return _start(self._transport, "check", wire.CheckRequest(path=self.file, deep=deep))

    def repair(self, *, deep: bool = False, size_bytes: int | None = None) -> Task:
        """Mend what can be mended; what was done is in the task's log.

        ``size_bytes`` is the size of a fixed disk that lost its footer.
        """
        request = wire.RepairRequest(path=self.file, deep=deep, size_bytes=size_bytes)
        return _start(self._transport, "repair", request)

    # For QEMU and other programs

    def export(self, *, writable: bool = False, ignore_parent_time: bool = False) -> str:
        """Offer it by NBD, parents and all, until ``end_export``; returns the address."""
        request = wire.ExportRequest(path=self.file, writable=writable, ignore_parent_time=ignore_parent_time)
        return self._transport.send(calls.export(request)).address

    def end_export(self) -> None:
        """Offer it no more; raises ERROR_SHARING_VIOLATION while a client uses it."""
        self._transport.send(calls.end_export(self.file))


class HardDiskCollection:
    """The virtual hard disks of the service (the disk members of ``IVMVirtualPC``)."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def __getitem__(self, path: DiskPath | int) -> HardDisk:
        """One disk by its file (``GetHardDisk``), or by its number among all, from 0.

        Raises ``DiskError`` where it is none, and ``IndexError`` for a number that none has.
        """
        if isinstance(path, int):
            return HardDisk(self._transport, self.read().files[path])
        return HardDisk(self._transport, HardDisk(self._transport, os.fspath(path)).read().file)

    def __iter__(self) -> Iterator[HardDisk]:
        """The disks in the service's folders (``GetHardDiskFiles``)."""
        return (HardDisk(self._transport, file) for file in self.read().files)

    def read(self) -> wire.DiskFiles:
        """The files of the disks in the service's folders, and these folders."""
        return self._transport.whole(calls.ask("", wire.DiskFiles))

    @property
    def roots(self) -> tuple[str, ...]:
        """The folders in which the service works on disks."""
        return _ask(self._transport, "roots", wire.DiskFiles).roots

    def holds(self, *paths: DiskPath) -> bool:
        """Whether all of these lie in the service's folders, as far as their names say."""
        roots = tuple(map(PurePosixPath, self.roots))
        ends = (PurePosixPath(os.path.realpath(path)) for path in paths)
        return all(any(end.is_relative_to(os.path.realpath(root)) for root in roots) for end in ends)

    def create_dynamic(self, path: DiskPath, size_bytes: int) -> Task:
        """Make a disk that grows as the guest writes (``CreateDynamicVirtualHardDisk``)."""
        return self._create(path, DiskFormat.DYNAMIC, size_bytes=size_bytes)

    def create_fixed(self, path: DiskPath, size_bytes: int) -> Task:
        """Make a disk with all its room from the start (``CreateFixedVirtualHardDisk``)."""
        return self._create(path, DiskFormat.FIXED, size_bytes=size_bytes)

    def create_differencing(self, path: DiskPath, parent: HardDisk | DiskPath) -> Task:
        """Make a disk that holds the difference to a parent (``CreateDifferencingVirtualHardDisk``).

        One of the two paths may be relative: to the folder of the other one.
        """
        child, base = os.fspath(path), parent.file if isinstance(parent, HardDisk) else os.fspath(parent)
        if not child.startswith("/"):
            child = os.path.join(os.path.dirname(base), child)  # noqa: PTH118, PTH120 - a far path
        elif not base.startswith("/"):
            base = os.path.join(os.path.dirname(child), base)  # noqa: PTH118, PTH120 - a far path
        return self._create(child, DiskFormat.DIFFERENCING, parent=base)

    def convert(
        self,
        source: DiskPath,
        path: DiskPath,
        kind: DiskFormat | HardDiskType | int | str,
        *,
        source_kind: DiskFormat | str | None = None,
        ignore_parent_time: bool = False,
    ) -> Task:
        """Convert any image; a raw one has no mark, so ``source_kind`` says it."""
        return HardDisk(self._transport, os.fspath(source)).convert(
            path, kind, source_kind=source_kind, ignore_parent_time=ignore_parent_time
        )

    @property
    def exports(self) -> Sequence[wire.ExportMessage]:
        """The disks that are offered by NBD, to machines and to others."""
        return self._transport.whole(calls.ask("exports", wire.ExportList)).exports

    def connect(self, machine: str) -> Sequence[str]:
        """Connect a machine that is off to an export for each of its VHDs; returns the drives concerned.

        QEMU reads a differencing VHD as if it had no parent, and cannot save a machine with any VHD.
        """
        request = wire.ConnectRequest(machine=machine)
        return self._transport.send(calls.connect(request)).targets

    def at(self, path: DiskPath) -> HardDisk:
        """A disk that is not looked at yet: it may be damaged, or no disk at all."""
        return HardDisk(self._transport, os.fspath(path))

    def _create(
        self, path: DiskPath, kind: DiskFormat, *, size_bytes: int | None = None, parent: str | None = None
    ) -> Task:
        request = wire.CreateDiskRequest(
            path=os.fspath(path), kind=kind, size_bytes=size_bytes, parent=parent
        )
        return _start(self._transport, "create", request)


def findings_of(task: Task) -> Iterator[wire.FindingMessage]:
    """Return what a check has found, from its task's log."""
    for line in task.log():
        if message := _FINDING.fullmatch(line.text):
            yield wire.FindingMessage(
                problem=message["problem"],
                sentence=message["sentence"],
                code=int(message["code"], 16),
                block=int(message["block"]) if message["block"] else None,
                is_harmless=message["problem"] in _HARMLESS,
            )


def _ask(transport: Transport, what: str, answer: type[Said], **query: str) -> Said:
    return transport.send(calls.ask(what, answer, **query))


def _start(transport: Transport, verb: str, request: BaseModel) -> Task:
    return Task(transport, transport.send(calls.start(verb, request)).task)


def _format(kind: DiskFormat | HardDiskType | int | str) -> DiskFormat:
    """Take a kind by its name, or by the documented type or its number (``VMHardDiskType``)."""
    try:
        if isinstance(kind, int) and not isinstance(kind, bool):
            return _BY_TYPE[HardDiskType(kind)]
        return DiskFormat(str(kind))
    except ValueError as error:
        raise InvalidArgument(
            f"{kind!r} is not a kind of disk.",
            advice="One of: " + ", ".join(DiskFormat) + ", or a VMHardDiskType, 0 to 2.",
        ) from error
