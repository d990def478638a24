"""Calls of the kernel that the interpreter has no names for."""

from __future__ import annotations

import ctypes
import functools
import os


@functools.cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object) -> int:
    """Call a function of the C library that returns less than 0 for an error. Raises ``OSError``."""
    result = int(getattr(_library(), name)(*arguments))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result
