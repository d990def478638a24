"""Describe what is said of virtual hard disks between a client and the service."""

from __future__ import annotations

from pydantic import AwareDatetime, Field

from innkeeper.wire.messages import Message, Paged, Request
from innkeeper.wire.states import DiskFormat

#: Longer paths there are none on Linux.
MAX_PATH_CHARS = 4095
#: 2040 GiB, the documented limit of a virtual hard disk; other formats may be larger.
MAX_SIZE_BYTES = 1 << 62


class HardDiskMessage(Message):
    """One disk image (``IVMHardDisk``)."""

    file: str
    kind: DiskFormat
    size_in_guest: int
    #: The file's length, and the room it really takes.
    size_on_host: int
    allocated_on_host: int
    host_free_disk_space: int
    #: Its identity, which its children name; nothing for other formats than VHD.
    unique_id: str | None
    created_at: AwareDatetime | None
    #: The program that made it.
    creator: str
    #: 0 where it has no blocks.
    block_bytes: int
    blocks_present: int
    #: Where its parent was found; nothing where it has none, or where it is not found.
    parent: str | None
    #: What was wrong and could be worked around, or keeps the parent from being used.
    warnings: tuple[str, ...]


class ChainMessage(Message):
    """A disk and its parents, itself first."""

    disks: tuple[HardDiskMessage, ...]


class DiskFiles(Paged):
    """The disks of the service, by the names of their files (``IVMVirtualPC::GetHardDiskFiles``)."""

    entries_field = "files"

    #: The folders in which it works on disks.
    roots: tuple[str, ...]
    files: tuple[str, ...]


class FindingMessage(Message):
    """One thing that is wrong with a disk."""

    problem: str
    sentence: str
    #: The documented identifier of the error it causes, 0 where it causes none.
    code: int
    block: int | None
    #: The disk works all the same.
    is_harmless: bool


class FindingList(Message):
    """What a quick look has found."""

    findings: tuple[FindingMessage, ...]


class DiskRequest(Request):
    """About one disk."""

    path: str = Field(min_length=1, max_length=MAX_PATH_CHARS)


class CreateDiskRequest(DiskRequest):
    """Make a disk: with a size, or, a differencing one, with a parent."""

    kind: DiskFormat
    size_bytes: int | None = Field(default=None, ge=0, le=MAX_SIZE_BYTES)
    parent: str | None = Field(default=None, max_length=MAX_PATH_CHARS)


class CompactRequest(DiskRequest):
    """Compact a disk."""

    #: Also drop what the guest's ext4 or NTFS does not use.
    free_blocks: bool = False


class ConvertRequest(DiskRequest):
    """Write a disk to a new image of another kind."""

    target: str = Field(min_length=1, max_length=MAX_PATH_CHARS)
    kind: DiskFormat
    #: Needed for a raw image, and wherever a guest could have written what looks like another format.
    source_kind: DiskFormat | None = None
    #: Read it although its parent has another time than the recorded one.
    ignore_parent_time: bool = False


class MergeRequest(DiskRequest):
    """Merge a differencing disk into its parent."""

    keep_child: bool = False
    ignore_parent_time: bool = False


class MergeToRequest(DiskRequest):
    """Write a differencing disk and all of its parents to a new image."""

    target: str = Field(min_length=1, max_length=MAX_PATH_CHARS)
    kind: DiskFormat = DiskFormat.DYNAMIC
    #: Read it although its parent has another time than the recorded one.
    ignore_parent_time: bool = False


class ReparentRequest(DiskRequest):
    """Request to set the path of a differencing disk's parent."""

    parent: str = Field(min_length=1, max_length=MAX_PATH_CHARS)
    #: The content is the same, though the identity is not.
    accept_other_id: bool = False


class ResizeRequest(DiskRequest):
    """Make a disk larger or smaller."""

    size_bytes: int = Field(ge=0, le=MAX_SIZE_BYTES)
    #: Cut off data past the new end.
    lose_data: bool = False


class CheckRequest(DiskRequest):
    """Check a disk."""

    #: Read every block too.
    deep: bool = False


class RepairRequest(CheckRequest):
    """Repair a disk."""

    #: The size of a fixed disk that lost its footer, where several are possible.
    size_bytes: int | None = Field(default=None, gt=0)


class ConnectRequest(Request):
    """Request to give a machine its VHDs by exports."""

    machine: str = Field(min_length=1, max_length=255)


class ConnectedMessage(Message):
    """The drives of a machine that use an export from now on."""

    machine: str
    targets: tuple[str, ...]


class ExportRequest(DiskRequest):
    """Offer a disk by NBD."""

    #: Let clients write.
    writable: bool = False
    #: Read it although its parent has another time than the recorded one.
    ignore_parent_time: bool = False


class ExportMessage(Message):
    """A disk that is offered by NBD."""

    path: str
    #: What QEMU and its tools take: ``nbd+unix:///…?socket=…``.
    address: str
    writable: bool


class ExportList(Paged):
    """The disks that are offered, to machines and to others."""

    entries_field = "exports"

    exports: tuple[ExportMessage, ...]
