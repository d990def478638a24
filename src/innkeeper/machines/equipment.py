"""Gather what reads and changes how machines are made."""

from __future__ import annotations

from collections.abc import Sequence

from innkeeper.machines.adapters import Adapters
from innkeeper.machines.drives import Drives
from innkeeper.machines.port_connections import GuestPorts, GuestUsb
from innkeeper.machines.service import Machines
from innkeeper.machines.settings import MachineSettings
from innkeeper.machines.values import MachineValues


class Equipment:
    """Settings, values and devices of all machines."""

    def __init__(self, machines: Machines, folders: Sequence[str] | None = None) -> None:
        """``folders``: where the files that images name may lie; anywhere for ``None``."""
        self.settings = MachineSettings(machines)
        self.values = MachineValues(machines)
        self.drives = Drives(machines, folders)
        self.adapters = Adapters(machines)
        self.ports = GuestPorts(machines)
        self.usb = GuestUsb(machines)
