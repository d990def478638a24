"""Events of drives that guests and hosts cause: an eject, a disk without room."""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Iterator

from innkeeper.hypervisor.libvirt.announcer import Announcer
from innkeeper.machines.change_events import medium
from innkeeper.wire.events import EventKind


class Trays:
    """The drives of one host's machines."""

    def __init__(self, announcer: Announcer) -> None:
        self._announcer = announcer
        #: The machines whose media are changed from here just now: their trays open for it.
        self._changing: collections.Counter[str] = collections.Counter()

    @contextlib.contextmanager
    def changing(self, name: str) -> Iterator[None]:
        """Pass over what the machine's trays do meanwhile: whoever changes it tells of it."""
        self._changing[name] += 1
        try:
            yield
        finally:
            self._changing[name] -= 1

    def opened(self, name: str, drive: str) -> None:
        """A tray was opened; by the guest, unless the medium is being changed."""
        if not self._changing[name]:
            self._announcer.publish(
                EventKind.MACHINE_MEDIUM_EJECTED, name, {**medium(drive), "media_path": ""}
            )

    def full(self, name: str, path: str) -> None:
        """QEMU found no room for a write, and has paused the machine."""
        self._announcer.publish(
            EventKind.MACHINE_DISK_OUT_OF_SPACE,
            name,
            {"critically_low": True, "free_bytes": 0, "directory": path},
        )
