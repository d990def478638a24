"""See what keeps an image of this computer, or a folder, from being used for undo disks; touch nothing."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from typing import Final

from innkeeper.disks.lock import is_written
from innkeeper.disks.look import opened_to_look
from innkeeper.machines.ports.image_files import Hindrance

#: The kernel's question for a file's attributes (``lsattr``), and two of the answers.
_GET_FLAGS: Final = 0x80086601
_IMMUTABLE: Final = 0x10
_APPEND_ONLY: Final = 0x20
#: The kernel's question whether a block device takes writes.
_IS_DEVICE_READ_ONLY: Final = 0x125E

_QCOW2: Final = struct.Struct(">4sI64xQ")
_QCOW2_MAGIC: Final = b"QFI\xfb"
_CORRUPT: Final = 1 << 1
_EXTERNAL_DATA: Final = 1 << 2
#: A qcow2 header has no room for a longer name of what it stands on.
_LONGEST_BASE: Final = 1023
_LONGEST_PATH: Final = os.pathconf("/", "PC_PATH_MAX") - 1
#: What a new overlay takes, before anything is written to it.
_NEW_OVERLAY_BYTES: Final = 1 << 20

#: What a trial file is refused for, by the error's number.
_REFUSED: Final = {
    errno.EDQUOT: Hindrance.QUOTA,
    errno.ENOSPC: Hindrance.FULL,
    errno.EROFS: Hindrance.READ_ONLY_FILE_SYSTEM,
}


def of_image(
    path: str, image_format: str, *, is_device: bool, is_ours: bool, is_idle: bool
) -> Hindrance | None:
    """What keeps an image from carrying an undo disk and taking it in again; ``None`` for nothing.

    ``is_ours``: QEMU runs as this user, whose permissions count. ``is_idle``: no machine should have it open.
    """
    if len(os.fsencode(path)) > _LONGEST_BASE:
        return Hindrance.LONG_PATH
    found = _stat(path, is_ours=is_ours)
    if not isinstance(found, os.stat_result):
        return found
    if is_device:
        return _of_device(path, found, is_ours=is_ours)
    if not stat.S_ISREG(found.st_mode):
        # To open a pipe would wait for whoever writes to it, for ever.
        return _KINDS.get(stat.S_IFMT(found.st_mode), Hindrance.NO_FILE)
    if is_ours and not os.access(path, os.R_OK):
        return Hindrance.UNREADABLE
    return (
        _of_attributes(path)
        or _of_permission(path, found, is_ours=is_ours)
        or _of_header(path, image_format)
        or _of_users(path, is_idle=is_idle)
    )


def of_folder(directory: str, name: str, *, is_ours: bool) -> Hindrance | None:
    """What keeps an overlay of this name from being made in a folder and deleted again."""
    found = _stat(directory, is_ours=is_ours)
    if found is None:
        return None
    if not isinstance(found, os.stat_result) or not stat.S_ISDIR(found.st_mode):
        return Hindrance.MISSING
    if len(os.fsencode(name)) > os.pathconf(directory, "PC_NAME_MAX"):
        return Hindrance.LONG_NAME
    if len(os.fsencode(f"{directory}/{name}")) > _LONGEST_PATH:
        return Hindrance.LONG_PATH
    return (
        _of_attributes(directory)
        or _of_permission(directory, found, is_ours=is_ours)
        or (_of_trial(directory) if is_ours else None)
    )


_KINDS: Final = {stat.S_IFDIR: Hindrance.FOLDER, stat.S_IFBLK: Hindrance.BLOCK_DEVICE}


def _stat(path: str, *, is_ours: bool) -> os.stat_result | Hindrance | None:
    """The file by its links; ``None`` where only libvirt may look at it."""
    try:
        return os.stat(path)  # noqa: PTH116 - what it raises is told apart here
    except PermissionError:
        return Hindrance.UNREADABLE if is_ours else None
    except OSError:
        # It is not there, or links lead round in a circle.
        return Hindrance.MISSING


def _of_device(path: str, found: os.stat_result, *, is_ours: bool) -> Hindrance | None:
    if not stat.S_ISBLK(found.st_mode):
        return Hindrance.NO_DEVICE
    if is_ours and not os.access(path, os.R_OK | os.W_OK):
        return Hindrance.READ_ONLY_DEVICE
    try:
        with opened_to_look(path) as device:
            (read_only,) = struct.unpack("i", fcntl.ioctl(device, _IS_DEVICE_READ_ONLY, bytes(4)))
    except OSError:
        return None
    return Hindrance.READ_ONLY_DEVICE if read_only else None


def _of_attributes(path: str) -> Hindrance | None:
    """Ask whether ``chattr`` forbids changes; ``None`` where the file system has no attributes to tell."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        (flags,) = struct.unpack("i4x", fcntl.ioctl(descriptor, _GET_FLAGS, bytes(8)))
    except OSError:
        return None
    finally:
        os.close(descriptor)
    if flags & _IMMUTABLE:
        return Hindrance.IMMUTABLE
    return Hindrance.APPEND_ONLY if flags & _APPEND_ONLY else None


def _of_permission(path: str, found: os.stat_result, *, is_ours: bool) -> Hindrance | None:
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return Hindrance.READ_ONLY_FILE_SYSTEM
    needed = os.W_OK | os.X_OK if stat.S_ISDIR(found.st_mode) else os.W_OK
    may_write = os.access(path, needed) if is_ours else bool(found.st_mode & 0o222)
    return None if may_write else Hindrance.NO_WRITES


def _of_header(path: str, image_format: str) -> Hindrance | None:
    if image_format != "qcow2" or not os.access(path, os.R_OK):
        return None
    with opened_to_look(path) as image:
        head = image.read(_QCOW2.size)
    if not head.startswith(_QCOW2_MAGIC):
        return Hindrance.OTHER_FORMAT
    _, version, features = _QCOW2.unpack(head.ljust(_QCOW2.size, b"\0"))
    if version < 3:
        return None
    if features & _CORRUPT:
        return Hindrance.CORRUPT
    return Hindrance.EXTERNAL_DATA if features & _EXTERNAL_DATA else None


def _of_users(path: str, *, is_idle: bool) -> Hindrance | None:
    if not is_idle or not os.access(path, os.R_OK):
        return None
    with opened_to_look(path) as image:
        return Hindrance.IN_USE if is_written(image.fileno()) else None


def _of_trial(directory: str) -> Hindrance | None:
    """Try whether the kernel gives us a file of an overlay's size: one without a name, that is gone again.

    Quotas, numbers of files and room are the kernel's to know. Nothing where it makes no such files.
    """
    try:
        descriptor = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        return _REFUSED.get(error.errno or 0)
    try:
        os.posix_fallocate(descriptor, 0, _NEW_OVERLAY_BYTES)
    except OSError as error:
        return _REFUSED.get(error.errno or 0)
    finally:
        os.close(descriptor)
    return None
