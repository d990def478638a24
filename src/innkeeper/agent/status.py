"""Name the states of an update as the guest sees them (``RDV_TASK_STATUS``)."""

import enum
from typing import Dict, FrozenSet


class Status(enum.IntEnum):
    """The states a task agent may set; 0 (unknown) and 8 (time-out) are the host's."""

    SEARCHING = 1
    DOWNLOADING = 2
    APPLYING = 3
    REBOOTING = 4
    REBOOTED = 5
    SUCCESS = 6
    FAILED = 7

    @property
    def is_final(self) -> bool:
        """Whether nothing follows it."""
        return not _NEXT[self]


_ENDS = frozenset({Status.SUCCESS, Status.FAILED})
_NEXT: Dict[Status, FrozenSet[Status]] = {
    Status.SEARCHING: _ENDS | {Status.DOWNLOADING, Status.APPLYING, Status.REBOOTING},
    Status.DOWNLOADING: _ENDS | {Status.APPLYING, Status.REBOOTING},
    Status.APPLYING: _ENDS | {Status.REBOOTING},
    Status.REBOOTING: _ENDS | {Status.REBOOTED},
    Status.REBOOTED: _ENDS | {Status.SEARCHING, Status.DOWNLOADING, Status.APPLYING, Status.REBOOTING},
    Status.SUCCESS: frozenset(),
    Status.FAILED: frozenset(),
}


def may_follow(before: Status, after: Status) -> bool:
    """Whether an update may go from one state to the other."""
    return after in _NEXT[before]
