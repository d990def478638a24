"""Start of processes that leave a sign: the child creates a file before the program is run.

The interpreter's own ways to start a process end in a note that the parent makes afterwards; a kill of the
parent in between leaves a program that nobody knows of. ``posix_spawn`` of the C library can have the child
open a file first, and change its directory, which the interpreter's binding of it cannot.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any, Final

_SETSID: Final = 0x80
_SETSIGMASK: Final = 0x08
_SETSIGDEF: Final = 0x04
#: Larger than the C library's own structures on every Linux there is.
_STRUCTURE_BYTES: Final = 1024
_SIGSET_BYTES: Final = 128
_SIGN_DESCRIPTOR: Final = 3


@functools.cache
def c_library() -> ctypes.CDLL | None:
    """Return the C library, where it has all that is needed (glibc 2.29 and later)."""
    found = ctypes.CDLL(None, use_errno=False)
    return found if hasattr(found, "posix_spawn_file_actions_addchdir_np") else None


@functools.cache
def _quick() -> ctypes.PyDLL:
    """The C library for what only writes to memory: not worth letting other threads in before and after."""
    return ctypes.PyDLL(None)


def spawn(
    argv: Sequence[str], *, output: int, directory: str, environment: Mapping[str, str], sign: bytes
) -> int:
    """Start ``argv[0]``, a path or a name on PATH, in a session of its own; returns its process id.

    It reads nothing, prints to the descriptor ``output``, and has made the file ``sign``, or given it a new
    time, before it runs. Raises ``OSError``.
    """
    quick = _quick()
    actions = ctypes.create_string_buffer(_STRUCTURE_BYTES)
    _check(quick.posix_spawn_file_actions_init(actions))
    try:
        _describe(quick, actions, output=output, directory=directory, sign=sign)
        return _started(actions, argv, environment)
    finally:
        quick.posix_spawn_file_actions_destroy(actions)


def _describe(quick: ctypes.PyDLL, actions: Any, *, output: int, directory: str, sign: bytes) -> None:
    add_open = quick.posix_spawn_file_actions_addopen
    _check(add_open(actions, 0, b"/dev/null", os.O_RDONLY, 0))
    _check(quick.posix_spawn_file_actions_adddup2(actions, output, 1))
    _check(quick.posix_spawn_file_actions_adddup2(actions, output, 2))
    _check(quick.posix_spawn_file_actions_addchdir_np(actions, os.fsencode(directory)))
    flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
    _check(add_open(actions, _SIGN_DESCRIPTOR, sign, flags, 0o600))
    _check(quick.posix_spawn_file_actions_addclose(actions, _SIGN_DESCRIPTOR))


@functools.cache
def _attributes() -> Any:
    """Return the shared spawn attributes: a session, and signals as programs expect them."""
    quick = _quick()
    attributes = ctypes.create_string_buffer(_STRUCTURE_BYTES)
    _check(quick.posix_spawnattr_init(attributes))
    # As subprocess does: what the interpreter ignores is as usual again in the program.
    defaults, nothing = (ctypes.create_string_buffer(_SIGSET_BYTES) for _ in range(2))
    quick.sigemptyset(defaults)
    quick.sigemptyset(nothing)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        quick.sigaddset(defaults, int(number))
    _check(quick.posix_spawnattr_setsigdefault(attributes, defaults))
    _check(quick.posix_spawnattr_setsigmask(attributes, nothing))
    _check(quick.posix_spawnattr_setflags(attributes, ctypes.c_short(_SETSID | _SETSIGMASK | _SETSIGDEF)))
    return attributes


def _started(actions: Any, argv: Sequence[str], environment: Mapping[str, str]) -> int:
    libc = c_library()
    assert libc is not None
    pid = ctypes.c_int(0)
    words = _vector([os.fsencode(word) for word in argv])
    variables = _vector([os.fsencode(f"{name}={value}") for name, value in environment.items()])
    path = os.fsencode(_found(argv[0], environment))
    error = libc.posix_spawn(ctypes.byref(pid), path, actions, _attributes(), words, variables)
    if error:
        raise OSError(error, os.strerror(error), argv[0])
    return pid.value


def _found(program: str, environment: Mapping[str, str]) -> str:
    """Return the file of a program's name, searched on the PATH that it is given, as a shell would."""
    if "/" in program:
        return program
    for directory in environment.get("PATH", os.defpath).split(":"):
        path = f"{directory}/{program}"
        if os.access(path, os.X_OK):
            return path
    return program


def _vector(words: Sequence[bytes]) -> Any:
    if any(b"\0" in word for word in words):
        raise OSError(errno.EINVAL, "a word has a NUL in it")
    return (ctypes.c_char_p * (len(words) + 1))(*words, None)


def _check(error: int) -> None:
    if error:
        raise OSError(error, os.strerror(error))
