"""Use that a machine has made of its host."""

from __future__ import annotations

import dataclasses
import datetime as dt


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Total use of one machine since it was turned on, at one moment."""

    machine: str
    vcpus: int
    #: Of all its processors together, its hypervisor's own work among it.
    cpu_seconds: float
    #: What it holds of its host's memory.
    memory_bytes: int
    disk_read_bytes: int
    disk_written_bytes: int
    #: Nothing where the host does not see the machine's network (user-mode networking).
    network_received_bytes: int | None
    network_sent_bytes: int | None
    #: Since when it is on, where the host can say.
    started_at: dt.datetime | None
