"""Make a new image under no name, and give it its name when it is whole.

The file has no name until then, so a crash or a cancel leaves nothing behind; a name that appeared
meanwhile is never written over.
"""

from __future__ import annotations

import contextlib
import errno
import os
from types import TracebackType

from innkeeper.disks.allowed import check_opened
from innkeeper.disks.file import ImageFile
from innkeeper.disks.leftovers import clear_leftovers, unfinished_name
from innkeeper.disks.lock import Hold, hold
from innkeeper.disks.oserror import adapted, disk_error
from innkeeper.disks.paths import already_there, new_image_path
from innkeeper.disks.progress import UNWATCHED, Watch

_NO_NAMELESS = {errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL}


class Draft:
    """A new image that has no name yet."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = new_image_path(path)
        #: Its name until it is whole, on file systems without nameless files.
        self._partial = ""
        with adapted(self.path.parent):
            self._folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            check_opened(self._folder, self.path)
            self.file = ImageFile(self._create(), self.path, writable=True)
            with adapted(self.path):
                hold(self.file.descriptor, str(self.path), Hold.WRITE)
        except BaseException:
            os.close(self._folder)
            raise

    def publish(self, *, durable: bool = True, watch: Watch = UNWATCHED) -> None:
        """Give the image its name, once it is safely stored; raises where the name is taken.

        Storing takes long, and a cancel that comes meanwhile is heard: it raises ``Cancelled``.
        """
        if durable:
            self.file.sync()
        watch.past_return()
        source = self._partial or f"/proc/self/fd/{self.file.descriptor}"
        try:
            # Naming the folders by descriptors is what makes the call follow the link in /proc.
            os.link(
                source,
                self.path.name,
                src_dir_fd=self._folder,
                dst_dir_fd=self._folder,
                follow_symlinks=not self._partial,
            )
            self._forget()
            if durable:
                os.fsync(self._folder)
        except FileExistsError as exc:
            raise already_there(self.path) from exc
        except OSError as exc:
            raise disk_error(exc, self.path) from exc

    def close(self) -> None:
        """Drop an image that was not published."""
        if self.file.descriptor < 0:
            return
        self._forget()
        self.file.close()
        os.close(self._folder)

    def __enter__(self) -> Draft:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _create(self) -> int:
        try:
            return os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o666, dir_fd=self._folder)
        except OSError as exc:
            if exc.errno not in _NO_NAMELESS:
                raise disk_error(exc, self.path) from exc
        with adapted(self.path):
            clear_leftovers(self._folder)
            self._partial = unfinished_name()
            flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC
            return os.open(self._partial, flags, 0o666, dir_fd=self._folder)

    def _forget(self) -> None:
        if self._partial:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._partial, dir_fd=self._folder)
            self._partial = ""
