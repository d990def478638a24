"""Privileges of a thread, and of all that it starts: none that are new, and no capability."""

from __future__ import annotations

import contextlib
import ctypes
import os

from innkeeper.disks.confined.kernel import call

_NO_NEW_PRIVILEGES, _DROP_FROM_BOUNDS, _AMBIENT, _AMBIENT_CLEAR = 38, 24, 47, 4
_VERSION_3 = 0x20080522
_LAST_CAPABILITY = 63
#: To open files whatever their owner: of a service that runs as root, images are another user's.
_OVERRIDE = 1


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def give_up() -> None:
    """Give up, for the calling thread and for good, all privileges and every way to get some.

    Root keeps the right to open others' files: images are their owner's. Raises ``OSError``.
    """
    _process_control(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    kept = 1 << _OVERRIDE if os.geteuid() == 0 else 0
    for number in range(_LAST_CAPABILITY + 1):
        if not kept >> number & 1:
            with contextlib.suppress(OSError):  # there are fewer, or this user has none to give up
                _process_control(_DROP_FROM_BOUNDS, number, 0, 0, 0)
    with contextlib.suppress(OSError):  # of kernels before 4.3
        _process_control(_AMBIENT, _AMBIENT_CLEAR, 0, 0, 0)
    _set_capabilities(kept)


def _set_capabilities(kept: int) -> None:
    kept &= _permitted()
    header, data = _Header(_VERSION_3, 0), (_Data * 2)(_Data(kept, kept, 0))
    call("capset", ctypes.byref(header), ctypes.byref(data))


def _permitted() -> int:
    header, data = _Header(_VERSION_3, 0), (_Data * 2)()
    call("capget", ctypes.byref(header), ctypes.byref(data))
    return int(data[0].permitted)


def _process_control(option: int, *arguments: int) -> None:
    call("prctl", option, *map(ctypes.c_ulong, arguments))
