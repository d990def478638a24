"""Seccomp: the kernel refuses calls that no reader of images has a use for.

libseccomp, which every distribution with systemd has, knows the numbers of the calls on each processor and
writes the filter. The filter is entered by a thread, and holds for all that it starts.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import functools
import os
import socket
from collections.abc import Iterator

from innkeeper.disks.confined.kernel import call
from innkeeper.disks.confined.reach import Sockets

_ALLOW = 0x7FFF0000
_REFUSE = 0x00050000
_NOT_EQUAL, _MASKED_EQUAL = 1, 7
_SET_SECCOMP, _FILTER = 22, 2

#: Namespaces by ``clone``: all of their flags.
_NAMESPACES = (0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000, 0x00020000)

#: Calls of debuggers, of administrators, and of those who look for a hole in the kernel.
REFUSED = (
    "acct", "add_key", "adjtimex", "bpf", "chroot", "clock_adjtime", "clock_settime", "delete_module",
    "fanotify_init", "finit_module", "fsconfig", "fsmount", "fsopen", "fspick", "init_module", "ioperm",
    "iopl", "kcmp", "kexec_file_load", "kexec_load", "keyctl", "lookup_dcookie", "mknod", "mknodat",
    "modify_ldt", "mount", "mount_setattr", "move_mount", "move_pages", "name_to_handle_at", "nfsservctl",
    "open_by_handle_at", "open_tree", "perf_event_open", "personality", "pidfd_getfd", "pivot_root",
    "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace", "quotactl", "quotactl_fd", "reboot",
    "request_key", "setdomainname", "sethostname", "setns", "settimeofday", "swapoff", "swapon", "syslog",
    "umount", "umount2", "unshare", "userfaultfd", "vhangup",
)  # fmt: skip

#: Calls that programs do without where the kernel is too old for them. What is asked for by a ring, or in
#: memory, no filter sees.
_UNKNOWN = ("clone3", "io_uring_enter", "io_uring_register", "io_uring_setup")


class _Comparison(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("first", ctypes.c_uint64),
        ("second", ctypes.c_uint64),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


class Filter:
    """The filter for one kind of program, for a thread to enter before it starts that."""

    def __init__(self, instructions: bytes) -> None:
        self._instructions = ctypes.create_string_buffer(instructions, len(instructions))
        self._program = _Program(len(instructions) // 8, ctypes.addressof(self._instructions))

    def enter(self) -> None:
        """Put the calling thread, and all that it starts from now on, under the filter."""
        call("prctl", _SET_SECCOMP, _FILTER, ctypes.byref(self._program), 0, 0)


@functools.cache
def filter_for(sockets: Sockets) -> Filter | None:
    """The filter; ``None`` where libseccomp is not installed."""
    library = _library()
    return None if library is None else Filter(_instructions(library, sockets))


@functools.cache
def kernel_filters() -> bool:
    """Whether the kernel takes filters."""
    try:
        call("prctl", _SET_SECCOMP, _FILTER, None, 0, 0)
    except OSError as error:
        # One that knows them looks for the filter, and there is none.
        return error.errno == errno.EFAULT
    return False


@functools.cache
def _library() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return None
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    library.seccomp_export_bpf.argtypes = [ctypes.c_void_p, ctypes.c_int]
    library.seccomp_rule_add_array.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p,
    ]  # fmt: skip
    return library


def _instructions(library: ctypes.CDLL, sockets: Sockets) -> bytes:
    context = library.seccomp_init(_ALLOW)
    if not context:
        raise MemoryError
    try:
        for name, error, comparison in _rules(sockets):
            _refuse(library, context, name, error, comparison)
        return _exported(library, context)
    finally:
        library.seccomp_release(context)


def _rules(sockets: Sockets) -> Iterator[tuple[str, int, _Comparison | None]]:
    for name in REFUSED:
        yield name, errno.EPERM, None
    for name in _UNKNOWN:
        yield name, errno.ENOSYS, None
    for flag in _NAMESPACES:
        yield "clone", errno.EPERM, _Comparison(_clone_flags(), _MASKED_EQUAL, flag, flag)
    if sockets is Sockets.ANY:
        return
    is_other = _Comparison(0, _NOT_EQUAL, int(socket.AF_UNIX), 0) if sockets is Sockets.LOCAL else None
    yield "socket", errno.EACCES, is_other
    yield "socketpair", errno.EACCES, is_other


def _clone_flags() -> int:
    """Which argument of ``clone`` has its flags: on S/390 the stack comes before them."""
    return int(os.uname().machine.startswith("s390"))


def _refuse(
    library: ctypes.CDLL, context: int, name: str, error: int, comparison: _Comparison | None
) -> None:
    number = library.seccomp_syscall_resolve_name(name.encode())
    if number < 0:
        # It is of another processor, or newer than the library.
        return
    compared = ctypes.byref(comparison) if comparison is not None else None
    result = library.seccomp_rule_add_array(
        context, _REFUSE | error, number, int(comparison is not None), compared
    )
    if result < 0:
        raise OSError(-result, f"{os.strerror(-result)}: {name}")


def _exported(library: ctypes.CDLL, context: int) -> bytes:
    descriptor = os.memfd_create("filter", os.MFD_CLOEXEC)
    try:
        result = library.seccomp_export_bpf(context, descriptor)
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    finally:
        os.close(descriptor)
