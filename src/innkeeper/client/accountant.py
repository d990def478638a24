"""See what a machine uses (``IVMAccountant``)."""

from __future__ import annotations

from innkeeper.client.calls import get, machine_path
from innkeeper.client.transport import Transport
from innkeeper.wire.accountant import AccountMessage, HistoryMessage


class Accountant:
    """One machine's accountant. A machine that is off uses nothing: every number is 0."""

    def __init__(self, transport: Transport, name: str) -> None:
        self._transport = transport
        self._name = name

    def read(self) -> AccountMessage:
        """All numbers at once."""
        return self._transport.send(get(machine_path(self._name, "account"), AccountMessage))

    def history(self, span: str = "minute") -> HistoryMessage:
        """Points of the last ``minute`` (60, one a second) or ``day`` (288, one for every five minutes)."""
        path = machine_path(self._name, "account/history")
        return self._transport.send(get(path, HistoryMessage, span=span))

    @property
    def cpu_utilization(self) -> int:
        """Percent of its processors, now (``CPUUtilization``)."""
        return round(self.read().rates.cpu_percent)

    @property
    def cpu_utilization_history(self) -> tuple[int, ...]:
        """Percent of its processors in each of the last 60 seconds (``CPUUtilizationHistory``)."""
        return tuple(round(point.cpu_percent) for point in self.history().points)

    @property
    def disk_bytes_read(self) -> int:
        """Read from all its disks since it was turned on (``DiskBytesRead``)."""
        return self.read().disk_read_bytes

    @property
    def disk_bytes_written(self) -> int:
        """Written to all its disks since it was turned on (``DiskBytesWritten``)."""
        return self.read().disk_written_bytes

    @property
    def network_bytes_received(self) -> int | None:
        """Received since it was turned on (``NetworkBytesReceived``); nothing where no host sees it."""
        return self.read().network_received_bytes

    @property
    def network_bytes_sent(self) -> int | None:
        """Sent since it was turned on (``NetworkBytesSent``); nothing where its host cannot see it."""
        return self.read().network_sent_bytes

    @property
    def up_time(self) -> int | None:
        """Seconds since it was turned on or restored (``UpTime``); nothing where its host cannot say."""
        return self.read().uptime_seconds
