"""Describe the messages about what machines use."""

from __future__ import annotations

from pydantic import AwareDatetime

from innkeeper.wire.messages import MachineStateName, Message, OfServers, Paged


class RatesMessage(Message):
    """What a machine used in one stretch of time: percent of its processors, and bytes a second."""

    cpu_percent: float
    disk_read: float
    disk_written: float
    network_received: float
    network_sent: float
    #: What it holds of its host's memory.
    memory_bytes: int


class AccountMessage(Message):
    """What a machine uses now, and has used since it was turned on (``IVMAccountant``)."""

    machine: str
    is_on: bool
    rates: RatesMessage
    disk_read_bytes: int
    disk_written_bytes: int
    #: Nothing where its host does not see its network.
    network_received_bytes: int | None
    network_sent_bytes: int | None
    #: Nothing where its host cannot say.
    uptime_seconds: int | None


class HistoryMessage(Message):
    """Points of a history, oldest first; the last one ends at ``until``."""

    machine: str
    until: AwareDatetime
    step_seconds: int
    points: tuple[RatesMessage, ...]


class WatchedMessage(Message):
    """One machine, as a live table shows it."""

    account: AccountMessage
    state: MachineStateName
    host: str
    #: Percent of the heartbeats of the last minute; nothing where nobody listens for one.
    heartbeat: int | None


class WatchedList(Paged, OfServers):
    """Machines with their accounts, by name."""

    entries_field = "machines"

    machines: tuple[WatchedMessage, ...]
