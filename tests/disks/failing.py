"""Let the host fail under an operation on disks: at any change of a file, in any way."""

from __future__ import annotations

import contextlib
import ctypes
import enum
import errno
import os
import signal
from collections.abc import Callable, Iterator

from innkeeper.disks import file as image_file
from innkeeper.errors import DiskError
from tests.disks.killing import in_a_killed_process

#: Every way in which the room changes a file, a name or a folder.
CALLS = (
    "pwrite", "copy_file_range", "ftruncate", "fdatasync", "fsync", "posix_fallocate",
    "link", "unlink", "replace",
)  # fmt: skip
PAGE = 4096
#: What a full file system still does.
_NEEDS_NO_ROOM = {"ftruncate", "unlink"}


class Failure(enum.Enum):
    """How the host fails."""

    #: The process is killed before the change, or between two pages of a long write.
    KILL = enum.auto()
    #: The file system is full from then on; a write is cut short first.
    FULL = enum.auto()
    #: This one change fails.
    ERROR = enum.auto()
    #: The device is gone: nothing can be changed any more.
    GONE = enum.auto()

    @property
    def kills(self) -> bool:
        """Whether the process ends by it."""
        return self is Failure.KILL


class _Failing:
    """Counts the changes down, and fails."""

    def __init__(self, failure: Failure, count: int) -> None:
        self.failure = failure
        self.left = count
        self.has_failed = False

    def patched(self, name: str, real: Callable[..., object]) -> Callable[..., object]:
        """Put the failure before a call."""

        def call(*args: object, **kwargs: object) -> object:
            self.left -= 1
            if self.left == 0 or (self.left < 0 and self._lasts):
                self._fail(name, real, args)
            return real(*args, **kwargs)

        return call

    @property
    def _lasts(self) -> bool:
        return self.failure in {Failure.FULL, Failure.GONE}

    def _fail(self, name: str, real: Callable[..., object], args: tuple[object, ...]) -> None:
        if self.failure is Failure.FULL and name in _NEEDS_NO_ROOM:
            return
        first, self.has_failed = not self.has_failed, True
        if name == "pwrite" and first and self.failure in {Failure.KILL, Failure.FULL}:
            self._cut_short(real, args)
        if self.failure.kills:
            os.kill(os.getpid(), signal.SIGKILL)
        number = errno.ENOSPC if self.failure is Failure.FULL else errno.EIO
        raise OSError(number, os.strerror(number))

    def _cut_short(self, real: Callable[..., object], args: tuple[object, ...]) -> None:
        """Write a first part, up to a page of the host: room ends there, and kills come there."""
        descriptor, data, offset = args
        view, start = memoryview(data), int(str(offset))  # type: ignore[arg-type]  # as given to os.pwrite
        part = (start + len(view) // 2) // PAGE * PAGE - start
        if part > 0:
            real(descriptor, view[:part], start)


@contextlib.contextmanager
def failing(failure: Failure, count: int) -> Iterator[_Failing]:
    """Let the ``count``-th change fail, and all after it where the failure lasts."""
    state = _Failing(failure, count)
    before = {name: getattr(os, name) for name in CALLS}
    allocate = image_file._fallocate

    def fallocate(*args: object) -> int:
        try:
            return int(str(state.patched("fallocate", allocate)(*args)))
        except OSError as error:
            ctypes.set_errno(error.errno or errno.EIO)
            return -1

    for name, real in before.items():
        setattr(os, name, state.patched(name, real))
    image_file._fallocate = fallocate  # type: ignore[assignment]  # ctypes' own type of a function
    try:
        yield state
    finally:
        for name, real in before.items():
            setattr(os, name, real)
        image_file._fallocate = allocate


def fails(failure: Failure, count: int, work: Callable[[], object]) -> bool:
    """Do the work with the failure; returns whether it came. A kill meets a process of its own."""

    def fail() -> bool:
        with failing(failure, count) as state:
            try:
                work()
            except DiskError:
                assert state.has_failed
        return state.has_failed

    return in_a_killed_process(fail) if failure.kills else fail()
