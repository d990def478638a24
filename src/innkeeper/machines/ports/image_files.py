"""Port for the files of a host's disk images."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence
from typing import Protocol

from innkeeper.machines.ports.progress import OnProgress


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FileIdentity:
    """Size, time and inode of an image file, which change when its content does."""

    size_bytes: int
    mtime_ns: int
    inode: int


class Hindrance(enum.StrEnum):
    """What keeps an image from carrying an undo disk, or a folder from taking one."""

    #: It is not there, or a folder on the way to it is not.
    MISSING = "missing"
    #: A folder, where a file should be.
    FOLDER = "folder"
    #: A block device, where a file should be.
    BLOCK_DEVICE = "block_device"
    #: A pipe, a socket or a terminal.
    NO_FILE = "no_file"
    #: Something else, where a block device should be.
    NO_DEVICE = "no_device"
    #: A block device that this user may not write to, or that takes no writes.
    READ_ONLY_DEVICE = "read_only_device"
    UNREADABLE = "unreadable"
    NO_WRITES = "no_writes"
    READ_ONLY_FILE_SYSTEM = "read_only_file_system"
    #: ``chattr +i``.
    IMMUTABLE = "immutable"
    #: ``chattr +a``.
    APPEND_ONLY = "append_only"
    #: Not of the format that the definition says.
    OTHER_FORMAT = "other_format"
    #: QEMU has marked it so, and writes to it no more.
    CORRUPT = "corrupt"
    #: A qcow2 image whose data lie in another file.
    EXTERNAL_DATA = "external_data"
    #: A program has it open, although its machine is off.
    IN_USE = "in_use"
    #: No file can have the overlay's name.
    LONG_NAME = "long_name"
    #: No overlay can name the image, or no program the overlay.
    LONG_PATH = "long_path"
    FULL = "full"
    QUOTA = "quota"


class ImageFiles(Protocol):
    """The files of one host's disk images, where no hypervisor call reaches them."""

    @property
    def computer(self) -> str:
        """The computer that has the files: hosts on one computer share them. Empty for this one."""

    async def identity(self, path: str) -> FileIdentity | None:
        """The file's size, time and inode; ``None`` where there is no such file."""

    async def image_hindrance(
        self, path: str, image_format: str, *, is_device: bool, is_idle: bool
    ) -> Hindrance | None:
        """What keeps an image, or a block device, from carrying an undo disk and taking it in again.

        ``None`` for nothing that can be seen from here. ``is_idle``: no machine should have it open. Nothing
        is changed, and nothing is opened that could block.
        """

    async def folder_hindrance(self, directory: str, name: str) -> Hindrance | None:
        """What keeps an overlay of this name from being made in a folder; ``None`` for nothing to be seen."""

    async def virtual_size(self, path: str, image_format: str) -> int:
        """The bytes a guest sees of an image of this format; no other format's header in it is believed."""

    async def checksum(self, path: str, on_progress: OnProgress | None = None) -> str:
        """A digest of the file's content; holes cost nothing, and equal zeros."""

    async def find(self, directory: str, part: str) -> Sequence[str]:
        """The paths of the directory's files with ``part`` in their names, sorted."""

    async def format(self, path: str) -> str:
        """The image's format by its name and its marks; ``raw`` where they show no other.

        Raises ``DiskError`` (VM_E_INVALID_HD_FILE) where a guest could have written what tells it.
        """

    async def outside(
        self, path: str, image_format: str, folders: Sequence[str], known: Sequence[str] = ()
    ) -> str:
        """The first file or address that an image of this format leads to outside of the folders.

        Empty for none. The image itself may lie anywhere, and so may what is ``known``.
        """

    async def network_storage(self, path: str) -> str:
        """The file's storage where other computers may have it too, as ``nfs4 filer:/vm``; else empty."""

    async def is_qcow2_named_as_raw(self, path: str) -> bool:
        """Whether the file is a qcow2 image that stands alone, although its name does not say qcow2.

        Ask it of files alone that no machine uses: a guest can write such a header into its raw disk.
        """
