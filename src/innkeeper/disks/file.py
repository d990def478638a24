"""Read and write one image file, with the documented errors."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from innkeeper.disks.allowed import check_opened
from innkeeper.disks.lock import Hold, hold
from innkeeper.disks.look import no_image
from innkeeper.disks.oserror import adapted, disk_error
from innkeeper.errors import DiskError, ErrorCode

#: How much is copied by one call of the kernel: small enough to hear a cancel soon.
COPY_BYTES = 16 << 20
#: After how many bytes of a copy the host is told to begin to store them.
STORED_AT_ONCE = 64 << 20
#: How much is copied at a time where the kernel cannot do it by itself.
BUFFER_BYTES = 1 << 20

FALLOC_KEEP_SIZE = 0x01
FALLOC_PUNCH_HOLE = 0x02
FALLOC_ZERO_RANGE = 0x10

_libc = ctypes.CDLL(None, use_errno=True)
_fallocate = _libc.fallocate
_fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
_sync_file_range = _libc.sync_file_range
_sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
SYNC_FILE_RANGE_WRITE = 2

#: The kernel has no copy for this pair of files.
_CANNOT_COPY = {errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.ETXTBSY}


class ImageFile:
    """One open file. Every change of an image goes through here, in order."""

    def __init__(self, descriptor: int, path: Path, *, writable: bool) -> None:
        self.descriptor = descriptor
        self.path = path
        self.writable = writable
        #: What is copied into it will be waited for: the host may begin to store it meanwhile.
        self.will_be_synced = False
        self._copied = 0
        self._can_copy = True
        #: A stretch of the file that is known to be data.
        self._known_data = (0, 0)

    @classmethod
    def open(cls, path: Path, *, writable: bool = False, held: bool = True) -> ImageFile:
        """Open and hold a regular file; never waits, whatever the path turns out to be.

        One that is not ``held`` may be changed by others meanwhile: good enough to look at.
        """
        flags = (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            descriptor = os.open(path, flags)
        except PermissionError as exc:
            raise _no_access(exc, path, writable=writable) from exc
        except OSError as exc:
            raise disk_error(exc, path) from exc
        except ValueError as exc:
            raise DiskError(f"{path!s}: {exc}.", path=str(path), code=ErrorCode.ERROR_INVALID_NAME) from exc
        file = cls(descriptor, path, writable=writable)
        try:
            file._take(held=held)
        except BaseException:
            file.close()
            raise
        return file

    def _take(self, *, held: bool) -> None:
        check_opened(self.descriptor, self.path)
        mode = self.status().st_mode
        if not stat.S_ISREG(mode):
            raise no_image(mode, self.path)
        if held:
            with adapted(self.path):
                hold(self.descriptor, str(self.path), Hold.WRITE if self.writable else Hold.READ)

    def close(self) -> None:
        """Close the file and release its lock; a second call does nothing."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def close_aside(self) -> None:
        """Close an unlinked file in a thread: freeing its room takes the host long."""
        descriptor, self.descriptor = self.descriptor, -1
        threading.Thread(target=os.close, args=[descriptor], name="freeing a file").start()

    def __del__(self) -> None:
        self.close()

    def __enter__(self) -> ImageFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Questions

    def status(self) -> os.stat_result:
        """The file's length, times and place, as the host says now."""
        with adapted(self.path):
            return os.fstat(self.descriptor)

    @property
    def size(self) -> int:
        """The file's length in bytes."""
        return self.status().st_size

    @property
    def identity(self) -> tuple[int, int]:
        """The key that identifies this file on the host."""
        status = self.status()
        return status.st_dev, status.st_ino

    def is_at(self, path: Path) -> bool:
        """Return whether this is the file at a path now."""
        with adapted(path):
            status = os.lstat(path)
        return (status.st_dev, status.st_ino) == self.identity

    def pread(self, size: int, offset: int) -> bytes:
        """Read up to ``size`` bytes; fewer at the end of the file."""
        try:
            data = os.pread(self.descriptor, size, offset)
            while 0 < len(data) < size and (
                more := os.pread(self.descriptor, size - len(data), offset + len(data))
            ):
                data += more
        except OSError as exc:
            raise disk_error(exc, self.path) from exc
        return data

    def read_into(self, buffer: memoryview, offset: int) -> None:
        """Fill the buffer; what lies past the end of the file reads as zero."""
        done = 0
        try:
            while done < len(buffer) and (
                count := os.preadv(self.descriptor, [buffer[done:]], offset + done)
            ):
                done += count
        except OSError as exc:
            raise disk_error(exc, self.path) from exc
        if done < len(buffer):
            buffer[done:] = bytes(len(buffer) - done)

    def data_extents(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        """Find the stored parts of a range, as (offset, length)."""
        end = offset + length
        while offset < end:
            start, stop = self._known_data
            if not start <= offset < stop:
                start, stop = self._find_data(offset)
            start, stop = max(start, offset), min(stop, end)
            if start >= stop:
                return
            yield start, stop - start
            offset = stop

    def _find_data(self, offset: int) -> tuple[int, int]:
        """Ask the host for the next stretch of data, and remember it: it may be as long as the file, and the
        host may look at each of its pages to tell."""
        try:
            start = os.lseek(self.descriptor, offset, os.SEEK_DATA)
            self._known_data = start, os.lseek(self.descriptor, start, os.SEEK_HOLE)
        except OSError as exc:
            if exc.errno == errno.ENXIO:
                return offset, offset
            raise disk_error(exc, self.path) from exc
        return self._known_data

    # Commands

    def pwrite(self, data: bytes | bytearray | memoryview, offset: int) -> None:
        """Write all of the data."""
        view = memoryview(data)
        try:
            while view:
                count = os.pwrite(self.descriptor, view, offset)
                view, offset = view[count:], offset + count
        except OSError as exc:
            raise disk_error(exc, self.path) from exc

    def copy_from(self, source: ImageFile, source_offset: int, offset: int, length: int) -> None:
        """Copy a range of another file, inside the kernel where it can."""
        while length:
            count = self._copy_some(source, source_offset, offset, min(length, COPY_BYTES))
            if not count:
                raise DiskError(
                    f"{source.path}: the file ends in the middle of its data.",
                    path=str(source.path),
                    code=ErrorCode.VM_E_INVALID_HD_FILE,
                    advice="Run a check on the disk.",
                )
            source_offset, offset, length = source_offset + count, offset + count, length - count
            self._begin_to_store(count)

    def _begin_to_store(self, copied: int) -> None:
        self._copied += copied
        if self.will_be_synced and self._copied >= STORED_AT_ONCE:
            self._copied = 0
            # Only a hint: what goes wrong is told by the sync at the end.
            _sync_file_range(self.descriptor, 0, 0, SYNC_FILE_RANGE_WRITE)

    def _copy_some(self, source: ImageFile, source_offset: int, offset: int, length: int) -> int:
        try:
            if self._can_copy:
                return os.copy_file_range(source.descriptor, self.descriptor, length, source_offset, offset)
        except OSError as exc:
            if exc.errno not in _CANNOT_COPY:
                raise disk_error(exc, self.path) from exc
            self._can_copy = False
        data = source.pread(min(length, BUFFER_BYTES), source_offset)
        self.pwrite(data, offset)
        return len(data)

    def allocate(self, offset: int, length: int) -> None:
        """Reserve room, lengthening the file where needed."""
        with adapted(self.path):
            os.posix_fallocate(self.descriptor, offset, length)

    def reserve(self, offset: int, length: int) -> bool:
        """Take room without changing the file's length; returns whether the file system can.

        Where the room is not there, what was taken is given back: raises ``DiskError``.
        """
        while _fallocate(self.descriptor, FALLOC_KEEP_SIZE, offset, length):
            error = ctypes.get_errno()
            if error == errno.EINTR:
                continue
            self.release()
            if error in {errno.EOPNOTSUPP, errno.ENOSYS}:
                return False
            raise disk_error(OSError(error, os.strerror(error)), self.path)
        return True

    def release(self) -> None:
        """Give back room that was taken past the end of the file."""
        with contextlib.suppress(OSError):
            os.ftruncate(self.descriptor, os.fstat(self.descriptor).st_size)

    def zero(self, offset: int, length: int, *, keep_room: bool = False) -> None:
        """Make a range read as zero, and keep its room or give it back where the file system can."""
        self._known_data = (0, 0)
        mode = (FALLOC_ZERO_RANGE if keep_room else FALLOC_PUNCH_HOLE) | FALLOC_KEEP_SIZE
        if length and _fallocate(self.descriptor, mode, offset, length):
            while length:
                part = min(length, BUFFER_BYTES)
                self.pwrite(bytes(part), offset)
                offset, length = offset + part, length - part

    def truncate(self, size: int) -> None:
        """Set the file's length."""
        self._known_data = (0, 0)
        with adapted(self.path):
            os.ftruncate(self.descriptor, size)

    def sync(self) -> None:
        """Return when everything written so far would survive a loss of power."""
        with adapted(self.path):
            os.fdatasync(self.descriptor)

    def set_modified(self, nanoseconds: int) -> None:
        """Restore the modification time where the content is unchanged."""
        with adapted(self.path), contextlib.suppress(PermissionError):
            os.utime(self.descriptor, ns=(self.status().st_atime_ns, nanoseconds))


def _no_access(exc: PermissionError, path: Path, *, writable: bool) -> DiskError:
    """Distinguish a read-only file from one that may not be opened at all."""
    if writable and os.access(path, os.R_OK):
        return DiskError(
            f"{path}: the file is read-only.",
            path=str(path),
            code=ErrorCode.VM_E_FILE_READ_ONLY,
            advice="Make it writable for the user Innkeeper runs as.",
        )
    return disk_error(exc, path)
