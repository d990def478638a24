"""Read in any image's header what it stands on, to find who stands on an image.

Nothing is followed, and what cannot be told is said. What is read is bounded, whatever the numbers in the
file say.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

from innkeeper.disks.base_names import Base, named_bases
from innkeeper.disks.file import ImageFile
from innkeeper.disks.kind import Kind
from innkeeper.disks.layout import OTHER_FORMATS, find_footer, read_layout, said_by_name
from innkeeper.disks.locator import candidates
from innkeeper.disks.named_files import named_files, parents_of_vhdx
from innkeeper.disks.oserror import disk_error
from innkeeper.errors import DiskError, ErrorCode

_GONE = {ErrorCode.ERROR_FILE_NOT_FOUND, ErrorCode.ERROR_PATH_NOT_FOUND}
_QED_MAGIC = b"QED\0"
#: Magic, sizes of cluster, table and header, three sets of features, the first table, the size of the disk,
#: then where the name of the base is, and its length.
_QED = struct.Struct("<4sIIIQQQQQII")
_QED_HAS_BASE, _QED_BASE_IS_RAW = 1 << 0, 1 << 2
_LONGEST_NAME = 1023


def bases_of(path: Path) -> list[Base]:
    """List what an image file names as the images below it, and as the files with its data.

    A parent of a VHD counts where it has the identity that its child asks for, or where it cannot be read.
    Raises ``DiskError`` where the file, or its structure, cannot be read.
    """
    with ImageFile.open(path, held=False) as file:
        return list(dict.fromkeys(_bases(file)))


def bases_of_device(path: Path) -> list[Base]:
    """The same of a block device that is declared as qcow2. Raises ``DiskError``."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise disk_error(error, path) from error
    with ImageFile(descriptor, path, writable=False) as device:
        return [*_of_qemu(device, Kind.QCOW2)] if stat.S_ISBLK(device.status().st_mode) else []


def _bases(file: ImageFile) -> Iterator[Base]:
    said, footer = said_by_name(file.path), find_footer(file)
    if footer is not None and said in {Kind.FIXED, None}:
        if footer.kind is Kind.DIFFERENCING:
            yield from _of_vhd(file)
        if said is Kind.FIXED:
            # The first sector of a fixed VHD is its guest's.
            return
    start = file.pread(32, 0)
    kind = next((kind for mark, kind in OTHER_FORMATS.items() if start.startswith(mark)), None)
    if start.startswith(_QED_MAGIC):
        yield from _of_qed(file)
    elif kind is Kind.VHDX:
        yield from _by_windows(file, parents_of_vhdx(file), kind)
    elif kind is not None:
        yield from _of_qemu(file, kind)


def _of_qemu(file: ImageFile, kind: Kind) -> Iterator[Base]:
    image, named = str(file.path), named_files(file, kind)
    if named.backing and kind is Kind.VMDK:
        yield from _by_windows(file, [named.backing], kind)
    elif named.backing:
        yield from named_bases(image, named.backing, named.backing_format)
    for name in named.data:
        yield from named_bases(image, name, "raw")


def _of_qed(file: ImageFile) -> Iterator[Base]:
    head = file.pread(_QED.size, 0)
    if len(head) < _QED.size:
        return
    _, _, _, _, features, _, _, _, _, offset, length = _QED.unpack(head)
    if features & _QED_HAS_BASE:
        name = file.pread(min(length, _LONGEST_NAME), offset).decode("utf-8", "surrogateescape")
        yield from named_bases(str(file.path), name, "raw" if features & _QED_BASE_IS_RAW else "")


def _by_windows(file: ImageFile, names: list[str], kind: Kind) -> Iterator[Base]:
    """Find parents by names that may be written as Windows does; beside the child where a drive is named."""
    image = str(file.path)
    for name in names:
        windows = PureWindowsPath(name)
        if "\\" not in name and not windows.drive:
            yield from named_bases(image, name, kind.value)
        else:
            yield from named_bases(image, windows.name if windows.drive else windows.as_posix(), kind.value)


def _of_vhd(file: ImageFile) -> Iterator[Base]:
    header = read_layout(file).header
    if header is None:
        return
    for place in candidates(file, header):
        try:
            with ImageFile.open(place, held=False) as parent:
                is_parent = read_layout(parent).footer.unique_id == header.parent_id
        except DiskError as error:
            is_parent = error.code not in _GONE
        if is_parent:
            yield Base(source=str(place), format="vhd")
