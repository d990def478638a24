"""Port for the files of a host's disk images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

from innkeeper.machines.ports.progress import OnProgress


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FileIdentity:
    """Size, time and inode of an image file, which change when its content does."""

    size_bytes: int
    mtime_ns: int
    inode: int


class ImageFiles(Protocol):
    """The files of one host's disk images, where no hypervisor call reaches them."""

    async def identity(self, path: str) -> FileIdentity | None:
        """The file's size, time and inode; ``None`` where there is no such file."""

    async def virtual_size(self, path: str, image_format: str) -> int:
        """The bytes a guest sees of an image of this format; no other format's header in it is believed."""

    async def checksum(self, path: str, on_progress: OnProgress | None = None) -> str:
        """A digest of the file's content; holes cost nothing, and equal zeros."""

    async def copy(self, source: str, target: str) -> None:
        """Copy a small file whole or not at all, over what is there."""

    async def find(self, directory: str, part: str) -> Sequence[str]:
        """The paths of the directory's files with ``part`` in their names, sorted."""

    async def format(self, path: str) -> str:
        """The image's format by its name and its marks; ``raw`` where they show no other.

        Raises ``DiskError`` (VM_E_INVALID_HD_FILE) where a guest could have written what tells it.
        """

    async def is_qcow2_named_as_raw(self, path: str) -> bool:
        """Whether the file is a qcow2 image that stands alone, although its name does not say qcow2.

        Ask it of files alone that no machine uses: a guest can write such a header into its raw disk.
        """
