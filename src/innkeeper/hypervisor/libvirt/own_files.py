"""Recognize the files that an undo point has made, before one is deleted: others may have their names."""

from __future__ import annotations

import json
import stat
import struct
from pathlib import Path
from typing import Final

from innkeeper.errors import DiskError, ErrorCode
from innkeeper.hypervisor.libvirt.export_bases import backing_name, exported_by

_QCOW2: Final = b"QFI\xfb"
#: How many entries the first table of a qcow2 image has, and where that lies.
_TABLE: Final = struct.Struct(">36xIQ")
_ENTRY_BYTES: Final = 8
#: What is looked at of a file that is only begun, and more than the first table of any disk takes.
_BEGINNING: Final = 1 << 20
_MOST_ENTRIES: Final = 4 << 20


def is_undo_disk_over(path: Path, base: str) -> bool:
    """Whether a file is an undo disk over an image (a path, or an address), or only the beginning of one.

    Raises ``PermissionError`` where it may not be read.
    """
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        return False
    if name := backing_name(str(path)):
        return _stands_on(path, name, base)
    with path.open("rb") as file:
        head = file.read(_BEGINNING)
        if not head.startswith(_QCOW2):
            return found.st_size <= _BEGINNING and not any(head)
        # It was made, and named its base not yet: nothing has been written to it.
        entries, offset = _TABLE.unpack(head[: _TABLE.size].ljust(_TABLE.size, b"\0"))
        if entries > _MOST_ENTRIES or offset > found.st_size:
            return False
        file.seek(offset)
        return not any(file.read(entries * _ENTRY_BYTES))


def foreign(path: str, what: str) -> DiskError:
    """The refusal of a file that is not what an undo point has left."""
    return DiskError(
        f"{path} is in the place of {what}, and is none that this undo point has made. It is left as it is.",
        path=path,
        code=ErrorCode.ERROR_ALREADY_EXISTS,
        advice="See what it is, and move it to another folder.",
    )


def _stands_on(overlay: Path, name: str, base: str) -> bool:
    plain = name.removeprefix("file:")
    if not base.startswith("/"):
        # Nobody compares addresses: each program spells them in a way of its own.
        return not plain.startswith("/")
    if exported_by(name) == base or (name.startswith("json:") and json.dumps(base)[1:-1] in name):
        return True
    named = overlay.parent / plain.removeprefix("host_device:")
    try:
        return str(named) == base or named.samefile(base)
    except OSError:
        return False
