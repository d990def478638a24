"""The logs of serial consoles, where definitions send them to files of this computer."""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO, Final

import libvirt

from innkeeper.hypervisor.libvirt.connection import Connection
from innkeeper.hypervisor.libvirt.domains import current
from innkeeper.hypervisor.libvirt.uris import HostUri

#: What is read at most: hours of a guest that boots again and again.
_MOST_BYTES: Final = 1 << 20


class LibvirtConsoleLogs:
    """The console logs of one host's machines (``machines.ports.console_logs.ConsoleLogs``)."""

    def __init__(self, uri: HostUri, connection: Connection) -> None:
        self._uri = uri
        self._connection = connection

    async def size(self, name: str) -> int | None:
        """The size of the file that the definition in use names."""
        if not self._uri.is_local:
            return None

        def work(connect: libvirt.virConnect) -> int | None:
            path = current(connect.lookupByName(name)).console_log()
            return size_of(path) if path else None

        return await self._connection.ask(work, "look at the console of", name)

    async def read(self, name: str, after: int) -> str:
        """The end of that file."""
        if not self._uri.is_local:
            return ""

        def work(connect: libvirt.virConnect) -> str:
            path = current(connect.lookupByName(name)).console_log()
            return read_end(path, after) if path else ""

        return await self._connection.ask(work, "read the console of", name)


def _open(path: str) -> BinaryIO:
    """Open a plain file. Raises ``OSError`` for all else: a pipe would wait for its other end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no plain file", path)
    return os.fdopen(descriptor, "rb")


def size_of(path: str) -> int | None:
    """The log's size; ``None`` where it is not there, or where it may not be read."""
    try:
        with _open(path) as file:
            return file.seek(0, 2)
    except OSError:
        return None


def read_end(path: str, after: int) -> str:
    """The end of what was written since; a log that is shorter now was begun anew."""
    try:
        with _open(path) as file:
            size = file.seek(0, 2)
            file.seek(max(after if after <= size else 0, size - _MOST_BYTES))
            return file.read(_MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
