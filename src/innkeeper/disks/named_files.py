"""Read the names of other files in an image of QEMU's formats, before any program opens it.

What is read here is bounded, whatever the numbers in the file say. Names are as the image has them.
"""

from __future__ import annotations

import dataclasses
import re
import struct
import uuid
from collections.abc import Iterator

from innkeeper.disks.file import ImageFile
from innkeeper.disks.geometry import SECTOR
from innkeeper.disks.kind import Kind

_QCOW2 = struct.Struct(">4sIQI")
_QCOW2_MAGIC = b"QFI\xfb"
_QCOW2_INCOMPATIBLE_AT, _QCOW2_HEADER_LENGTH_AT = 72, 100
_QCOW2_EXTERNAL_DATA = 1 << 2
_EXTENSION = struct.Struct(">II")
_BACKING_FORMAT, _DATA_FILE = 0xE2792ACA, 0x44415441
#: The limit of the format for a name, and more than a header's extensions take.
_LONGEST_NAME = 1023
_LONGEST_HEADER = 64 << 10

_SPARSE_VMDK = b"KDMV"
_OLD_SPARSE_VMDK = b"COWD"
_VMDK = struct.Struct("<4sIIQQQQ")
#: Where QEMU looks for the description of a sparse VMDK, and how much of it it reads.
_DESCRIPTION_AT = SECTOR
_DESCRIPTION_BYTES = 20 * SECTOR
_EXTENT = re.compile(rb'^\s*RW\s+\d+\s+\w+\s+"([^"\r\n]*)', re.MULTILINE)
_PARENT = re.compile(rb'parentFileNameHint[^"\r\n]*"?([^"\r\n]*)')

_REGIONS_AT = (192 << 10, 256 << 10)
_METADATA = uuid.UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e").bytes_le
_PARENT_LOCATOR = uuid.UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c").bytes_le
_MOST_ENTRIES = 2047
_PATHS = ("relative_path", "volume_path", "absolute_win32_path")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NamedFiles:
    """The files that an image names."""

    #: The image it stands on, as it names it; empty where it stands alone.
    backing: str = ""
    #: The format of that one; empty where the image does not say.
    backing_format: str = ""
    #: Those that hold its data.
    data: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[str]:
        """Go through all names, the backing file first."""
        return iter((*((self.backing,) if self.backing else ()), *self.data))


def named_files(file: ImageFile, kind: Kind) -> NamedFiles:
    """Read the names in an image of this format; a damaged one gives those that can be read."""
    if kind is Kind.QCOW2:
        return _of_qcow2(file)
    if kind is Kind.VMDK:
        return _of_vmdk(file)
    if kind is Kind.VHDX:
        return NamedFiles(backing=next(iter(parents_of_vhdx(file)), ""))
    return NamedFiles()


def _of_qcow2(file: ImageFile) -> NamedFiles:
    head = file.pread(_LONGEST_HEADER, 0)
    if len(head) < _QCOW2_INCOMPATIBLE_AT or not head.startswith(_QCOW2_MAGIC):
        return NamedFiles()
    _, version, offset, length = _QCOW2.unpack_from(head)
    backing = _text(file.pread(min(length, _LONGEST_NAME), offset)) if offset and length else ""
    start, features = _QCOW2_INCOMPATIBLE_AT, 0
    if version >= 3 and len(head) >= _QCOW2_HEADER_LENGTH_AT + 4:
        features = int.from_bytes(head[_QCOW2_INCOMPATIBLE_AT:][:8], "big")
        start = int.from_bytes(head[_QCOW2_HEADER_LENGTH_AT:][:4], "big")
    extensions = _extensions(head, start)
    data = _text(extensions.get(_DATA_FILE, b"")) or "a data file"
    return NamedFiles(
        backing=backing,
        backing_format=_text(extensions.get(_BACKING_FORMAT, b"")),
        data=(data,) if features & _QCOW2_EXTERNAL_DATA or _DATA_FILE in extensions else (),
    )


def _extensions(head: bytes, at: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while at + _EXTENSION.size <= len(head):
        kind, length = _EXTENSION.unpack_from(head, at)
        if not kind:
            break
        at += _EXTENSION.size
        found.setdefault(kind, head[at : at + length])
        at += -(-length // 8) * 8
    return found


def _of_vmdk(file: ImageFile) -> NamedFiles:
    head = file.pread(_DESCRIPTION_AT, 0)
    if head.startswith(_OLD_SPARSE_VMDK):
        return _described(file.pread(_DESCRIPTION_BYTES, _DESCRIPTION_AT), is_all=False)
    if not head.startswith(_SPARSE_VMDK) or len(head) < _VMDK.size:
        return _described(file.pread(_DESCRIPTION_BYTES, 0), is_all=True)
    _, _, _, capacity, _, description_at, _ = _VMDK.unpack_from(head)
    places = {_DESCRIPTION_AT, description_at * SECTOR if description_at < 1 << 40 else 0}
    texts = [file.pread(_DESCRIPTION_BYTES, place) for place in sorted(places)]
    return _described(b"\n".join(texts), is_all=not capacity)


def _described(text: bytes, *, is_all: bool) -> NamedFiles:
    """Read a description; ``is_all``: the image has nothing else, so named files hold the data."""
    parent = _PARENT.search(text)
    extents = tuple(map(_text, _EXTENT.findall(text))) or ("the files with its data",)
    return NamedFiles(
        backing=(_text(parent[1]) or "a parent") if parent is not None else "",
        data=extents if is_all else (),
    )


def parents_of_vhdx(file: ImageFile) -> list[str]:
    """List the names that a differencing VHDX has for its parent; none where it has no parent."""
    for at in _REGIONS_AT:
        for guid, offset in _entries(file.pread(64 << 10, at), b"regi", count_at=8, start=16, offset=8):
            if guid == _METADATA:
                table = file.pread(64 << 10, offset)
                for item, inner in _entries(table, b"metadata", count_at=10, start=32, offset=4):
                    if item == _PARENT_LOCATOR:
                        return _located(file.pread(64 << 10, offset + inner)) or ["a parent"]
    return []


def _entries(
    table: bytes, signature: bytes, *, count_at: int, start: int, offset: int
) -> Iterator[tuple[bytes, int]]:
    """List the entries of a VHDX's table: (what, where)."""
    if not table.startswith(signature):
        return
    count = int.from_bytes(table[count_at : count_at + 2], "little")
    for number in range(min(count, _MOST_ENTRIES)):
        entry = table[start + 32 * number :][:32]
        yield entry[:16], int.from_bytes(entry[16 : 16 + offset], "little")


def _located(locator: bytes) -> list[str]:
    found: dict[str, str] = {}
    for number in range(min(int.from_bytes(locator[18:20], "little"), 64)):
        entry = locator[20 + 12 * number :][:12]
        if len(entry) == 12:
            key_at, value_at, key_length, value_length = struct.unpack("<IIHH", entry)
            key, value = locator[key_at:][:key_length], locator[value_at:][:value_length]
            found[key.decode("utf-16-le", "replace")] = value.decode("utf-16-le", "replace")
    return [found[key] for key in _PATHS if found.get(key)]


def _text(data: bytes) -> str:
    return data.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
