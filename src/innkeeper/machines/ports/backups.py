"""Port for the incremental backups that others take of a host's machines."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence
from typing import Protocol


class JobKind(enum.StrEnum):
    """What is being done with a disk that is in use."""

    #: A backup reads the disks as they were at its begin.
    BACKUP = "backup"
    #: An overlay is merged into what lies below it.
    MERGE = "merge"
    #: Anything else: a copy, a stream, a migration of the storage.
    OTHER = "other"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A moment from which on writes are recorded, for the next incremental backup."""

    name: str
    #: When it was made, in seconds since 1970: another one may be made under the same name.
    created: int
    #: The bitmap of each disk (target, name) in it.
    bitmaps: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Tracking:
    """The bitmaps of one disk that had an overlay, and what became of them meanwhile, by their names."""

    machine: str
    #: The disk's name in the machine's definition, which names the base again.
    target: str
    #: The file or device that the machine is back on, or that the overlay was merged into.
    base: str
    #: The overlay that took the writes; it is still there.
    overlay: str
    #: A file in which the base's bitmaps are gathered.
    side: str
    #: Those that know every write up to the overlay, and that nothing in it concerns.
    kept: frozenset[str] = frozenset()
    #: Those that began while the overlay was there, or shortly before: one that the base lacks began in it.
    begun: frozenset[str] = frozenset()
    #: Those that nobody asks for any more.
    gone: frozenset[str] = frozenset()


class Backups(Protocol):
    """The checkpoints, dirty bitmaps and running backups of one host's machines."""

    async def checkpoints(self, name: str) -> Sequence[Checkpoint]:
        """The machine's checkpoints, oldest first."""

    async def jobs(self, name: str) -> frozenset[JobKind]:
        """What is being done with its disks now; nothing where it is off."""

    async def held_by(self, name: str) -> Sequence[str]:
        """What is being done with its disks now, each in words for people: what, which disks, since when."""

    async def gather(self, tracking: Tracking) -> bool:
        """Write down in ``side`` what the base's bitmaps are to be; returns whether there is any change.

        Each but the kept ones has everything that the overlay holds, so that the next increment has it.
        Where ``side`` is there, it stays; where the overlay is gone, there is none. Nobody may write to
        either image meanwhile.
        Raises ``NotSupported`` where the base can keep no bitmaps or lies on another computer, and
        ``DiskError`` where an image cannot be opened.
        """

    async def restore(self, tracking: Tracking) -> None:
        """Give the base what ``side`` has, with the machine off; may be done again after a kill in it."""

    async def sound_bitmaps(self, tracking: Tracking) -> frozenset[str]:
        """The names of the bitmaps in the base, without those that may miss writes.

        Raises as ``gather``.
        """
