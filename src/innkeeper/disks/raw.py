"""Read a raw image as the only layer of a disk."""

from __future__ import annotations

from pathlib import Path

from innkeeper.disks.chain import Chain
from innkeeper.disks.file import ImageFile
from innkeeper.disks.footer import Footer
from innkeeper.disks.geometry import SECTOR
from innkeeper.disks.image import Image
from innkeeper.disks.kind import Kind
from innkeeper.disks.layout import LARGEST_DISK, Layout
from innkeeper.errors import DiskError, ErrorCode


def open_raw(path: Path) -> Chain:
    """Open any file as the bytes of a disk; a part of a sector at its end counts as a whole one."""
    file = ImageFile.open(path)
    size = -(-file.size // SECTOR) * SECTOR
    if not 0 < size <= LARGEST_DISK:
        file.close()
        code = ErrorCode.VM_E_IMAGE_SIZE_TOO_LARGE if size else ErrorCode.VM_E_IMAGE_SIZE_TOO_SMALL
        raise DiskError(
            f"{path}: a disk cannot have {size} bytes.",
            path=str(path),
            code=code,
            advice="A disk has at most 2,088,960 MB.",
        )
    return Chain([Image(file, Layout(footer=Footer.new(Kind.FIXED, size), header=None, end=size))])
