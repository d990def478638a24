"""Turn the operating system's errors into the documented ones."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

from innkeeper.errors import DiskError, ErrorCode

#: The documented identifier and a sentence for each error a disk image meets.
KNOWN: dict[int, tuple[ErrorCode, str, str]] = {
    errno.ENOENT: (ErrorCode.ERROR_FILE_NOT_FOUND, "There is no such file.", "Check the path."),
    errno.ENOTDIR: (ErrorCode.ERROR_PATH_NOT_FOUND, "A part of the path is not a folder.", "Check the path."),
    errno.EISDIR: (ErrorCode.VM_E_INVALID_HD_FILE, "It is a folder, not a disk image.", "Name a file."),
    errno.ELOOP: (ErrorCode.ERROR_BAD_PATHNAME, "Its symbolic links go in a circle.", "Correct the links."),
    errno.EEXIST: (ErrorCode.ERROR_ALREADY_EXISTS, "The file is there already.", "Choose another name."),
    errno.EACCES: (ErrorCode.E_ACCESSDENIED, "Access is denied.", "Check the owner and mode of the file."),
    errno.EPERM: (
        ErrorCode.E_ACCESSDENIED,
        "The operation is not permitted.",
        "Check the file's attributes.",
    ),
    errno.EROFS: (
        ErrorCode.VM_E_FILE_READ_ONLY,
        "The file system is read-only.",
        "Mount it for writing, or copy the disk.",
    ),
    errno.ENOSPC: (
        ErrorCode.ERROR_DISK_FULL,
        "There is no space left on the host volume.",
        "Free some space and try again.",
    ),
    errno.EDQUOT: (ErrorCode.ERROR_DISK_FULL, "The disk quota is used up.", "Free some space and try again."),
    errno.EFBIG: (
        ErrorCode.VM_E_FILE_TOO_LARGE_FOR_VOLUME,
        "The host volume cannot hold a file of this size.",
        "Choose another volume.",
    ),
    errno.ENAMETOOLONG: (ErrorCode.ERROR_BUFFER_OVERFLOW, "The path is too long.", "Choose a shorter one."),
    errno.EMFILE: (
        ErrorCode.VM_E_OUT_OF_RESOURCE,
        "Too many files are open.",
        "Raise the limit (ulimit -n).",
    ),
    errno.ENOMEM: (
        ErrorCode.E_OUTOFMEMORY,
        "The host has no memory left.",
        "Free some memory and try again.",
    ),
}


def disk_error(exc: OSError, path: str | os.PathLike[str]) -> DiskError:
    """Build the documented error for ``exc``; the caller chains it."""
    code, sentence, advice = KNOWN.get(
        exc.errno or 0,
        (ErrorCode.VM_E_HD_IMAGE_ACCESS, f"The host could not do it: {exc.strerror or exc}.", ""),
    )
    return DiskError(f"{os.fspath(path)}: {sentence}", path=os.fspath(path), code=code, advice=advice)


@contextlib.contextmanager
def adapted(path: str | os.PathLike[str]) -> Iterator[None]:
    """Raise our errors in place of the operating system's."""
    try:
        yield
    except OSError as exc:
        raise disk_error(exc, path) from exc
