"""Landlock: the kernel lets a thread, and all that it starts, open the files that were named and no others.

After ``Documentation/userspace-api/landlock.rst`` of Linux. What the running kernel does not know yet is left
out: each version of its interface has more that can be forbidden.
"""

from __future__ import annotations

import ctypes
import enum
import functools
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from innkeeper.disks.confined.kernel import call
from innkeeper.disks.confined.reach import Place, Reach, Sockets

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION = 1 << 0
_PATH_BENEATH = 1
_NETWORK = (1 << 0) | (1 << 1)  # to listen and to connect by TCP
_SCOPED = (1 << 0) | (1 << 1)  # abstract sockets and signals
_NETWORK_SINCE, _SCOPED_SINCE = 4, 6


class _Right(enum.IntFlag):
    """What can be done with files and in folders."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


#: Which version of the interface brought what the first did not have.
_SINCE = {_Right.REFER: 2, _Right.TRUNCATE: 3, _Right.IOCTL_DEV: 5}
_OF_FILES = _Right.EXECUTE | _Right.WRITE_FILE | _Right.READ_FILE | _Right.TRUNCATE | _Right.IOCTL_DEV

_RUN = _Right.EXECUTE | _Right.READ_FILE | _Right.READ_DIR
_READ = _Right.READ_FILE | _Right.READ_DIR
_WRITE = (
    _READ
    | _Right.WRITE_FILE
    | _Right.TRUNCATE
    | _Right.REMOVE_FILE
    | _Right.MAKE_REG
    | _Right.MAKE_SOCK
    | _Right.REFER
)

#: Programs and libraries, which everybody may read.
_SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/nix/store", "/gnu/store")
_PRELOAD = Path("/etc/ld.so.preload")
_SETTINGS = (
    "/etc/ld.so.cache", str(_PRELOAD), "/etc/localtime", "/etc/crypto-policies",
    "/etc/gnutls", "/etc/ssl/openssl.cnf",
)  # fmt: skip
_NAME_SERVICE = (
    "/etc/hosts", "/etc/host.conf", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/gai.conf",
    "/etc/services", "/etc/protocols",
)  # fmt: skip
_RANDOM = ("/dev/zero", "/dev/random", "/dev/urandom")


class Ruleset:
    """The rules for one program, for a thread to enter before it starts that."""

    def __init__(self, reach: Reach, program: Path) -> None:
        """Raises ``OSError`` where the kernel has no Landlock, or it is switched off."""
        self._version = version()
        self._handled = _known(self._version)
        self.descriptor = self._created(reach.sockets)
        try:
            for place, right in _rules(reach, program):
                self._allow(place, right)
        except BaseException:
            self.close()
            raise

    def enter(self) -> None:
        """Put the calling thread, and all that it starts from now on, under these rules."""
        call("syscall", _RESTRICT_SELF, self.descriptor, 0)

    def close(self) -> None:
        """Forget the rules; who is under them stays so."""
        os.close(self.descriptor)

    def _created(self, sockets: Sockets) -> int:
        words = [int(self._handled)]
        if self._version >= _NETWORK_SINCE:
            words.append(0 if sockets is Sockets.ANY else _NETWORK)
        if self._version >= _SCOPED_SINCE:
            words.append(_SCOPED)
        attributes = (ctypes.c_uint64 * len(words))(*words)
        return call("syscall", _CREATE_RULESET, ctypes.byref(attributes), ctypes.sizeof(attributes), 0)

    def _allow(self, place: Place, right: _Right) -> None:
        if isinstance(place, int):
            self._add(place, right)
            return
        try:
            descriptor = os.open(place, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            # Who wants to open it will be told why that fails.
            return
        try:
            self._add(descriptor, right)
        finally:
            os.close(descriptor)

    def _add(self, descriptor: int, right: _Right) -> None:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISBLK(mode):
            # A device's size is asked for by a call of its own.
            right |= _Right.IOCTL_DEV
        if not stat.S_ISDIR(mode):
            right &= _OF_FILES
        rule = _PathBeneath(int(right & self._handled), descriptor)
        call("syscall", _ADD_RULE, self.descriptor, _PATH_BENEATH, ctypes.byref(rule), 0)


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


@functools.cache
def version() -> int:
    """The version of the kernel's interface; 0 where there is none."""
    try:
        return call("syscall", _CREATE_RULESET, None, ctypes.c_size_t(0), _ASK_VERSION)
    except OSError:
        return 0


def _known(version: int) -> _Right:
    """All that this version of the interface can forbid."""
    known = _Right(0)
    for right in _Right:
        if _SINCE.get(right, 1) <= version:
            known |= right
    return known


def _rules(reach: Reach, program: Path) -> Iterator[tuple[Place, _Right]]:
    for path in (*map(Path, _SYSTEM), program, *_libraries(program), *_preloaded()):
        yield path, _RUN
    for name in (*_SETTINGS, *_RANDOM, *(_NAME_SERVICE if reach.sockets is Sockets.ANY else ())):
        yield Path(name), _READ
    yield Path(os.devnull), _READ | _Right.WRITE_FILE
    for place in reach.reads:
        yield place, _READ
    for place in reach.writes:
        yield place, _WRITE


def _preloaded() -> Sequence[Path]:
    """The libraries that this computer's administrator has put into every program."""
    try:
        return [Path(name) for name in _PRELOAD.read_text("utf-8").replace(":", " ").split()]
    except (OSError, ValueError):
        return []


def _libraries(program: Path) -> Iterator[Path]:
    """Where a program that was installed elsewhere than the system's has its own."""
    for name in ("lib", "lib64", "share"):
        yield program.resolve().parent.parent / name
