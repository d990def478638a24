"""Files through which the service and a disk's export find each other."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from innkeeper.disks.oserror import adapted
from innkeeper.errors import DiskError, ErrorCode

_ORDER, _SOCKET, _LOCK = ".json", ".nbd", ".lock"

#: How an export ends that finds another one at its place.
TAKEN = 3

#: What stands before the path in the name of an export that a machine uses.
MARK = "vhd:"


#: What the name of a socket adds to its folder's path, in bytes.
LONGEST_NAME = len("/0123456789abcdef") + len(_SOCKET)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ExportOrder:
    """Which disk an export offers, and how."""

    #: The image.
    path: str
    writable: bool
    #: It waits for clients until it is told to end.
    stays: bool = False
    #: Its parent may have another time than the recorded one.
    ignore_parent_time: bool = False
    #: The folders in which its parents lie; empty where they may lie anywhere.
    within: Sequence[str] = ()

    @property
    def name(self) -> str:
        """The name of the export."""
        return MARK + self.path


class ExportFiles:
    """The files of one export."""

    def __init__(self, folder: Path, key: str) -> None:
        self.key = key
        self.order = folder / f"{key}{_ORDER}"
        self.socket = folder / f"{key}{_SOCKET}"
        self._lock = folder / f"{key}{_LOCK}"

    @classmethod
    def of(cls, folder: Path, path: str) -> ExportFiles:
        """The files of the export of an image."""
        return cls(folder, hashlib.sha256(os.fsencode(path)).hexdigest()[:16])

    @classmethod
    def all(cls, folder: Path) -> Iterator[ExportFiles]:
        """Every export that runs or was killed."""
        for order in sorted(folder.glob(f"*{_ORDER}")):
            yield cls(folder, order.name.removesuffix(_ORDER))

    def read(self) -> ExportOrder:
        """Read the order of the export. Raises ``DiskError`` where it cannot be read."""
        with adapted(self.order):
            text = self.order.read_text("utf-8", "surrogateescape")
        try:
            return ExportOrder(**json.loads(text))
        except (ValueError, TypeError) as error:
            raise DiskError(
                f"{self.order}: what this export offers is not to be read.",
                path=str(self.order),
                code=ErrorCode.ERROR_INVALID_DATA,
                advice="Remove the file.",
            ) from error

    def write(self, order: ExportOrder) -> None:
        """Write the order of the export, all of it or nothing."""
        draft = self.order.with_suffix(".new")
        with adapted(self.order):
            draft.write_text(json.dumps(dataclasses.asdict(order)), "utf-8", "surrogateescape")
            draft.replace(self.order)

    def clear(self) -> None:
        """Remove the files of an export that has ended in order."""
        for file in (self.socket, self.order, self._lock):
            file.unlink(missing_ok=True)

    @contextlib.contextmanager
    def opened_lock(self) -> Iterator[int]:
        """Open the lock's file, which nobody has removed since."""
        while True:
            with adapted(self._lock):
                lock = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if self._is_at_its_place(lock):
                    yield lock
                    return
            finally:
                os.close(lock)

    def process(self) -> int | None:
        """The number of the process that runs the export; ``None`` where none does."""
        try:
            lock = os.open(self._lock, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(lock, 32, 0)
            return int(text) if text.isdigit() else None
        finally:
            os.close(lock)
        return None

    def _is_at_its_place(self, lock: int) -> bool:
        try:
            return self._lock.stat().st_ino == os.fstat(lock).st_ino
        except FileNotFoundError:
            return False
