"""Gather what reads and changes how machines are made."""

from __future__ import annotations

from innkeeper.machines.adapters import Adapters
from innkeeper.machines.drives import Drives
from innkeeper.machines.port_connections import GuestPorts, GuestUsb
from innkeeper.machines.service import Machines
from innkeeper.machines.settings import MachineSettings
from innkeeper.machines.values import MachineValues


class Equipment:
    """Settings, values and devices of all machines."""

    def __init__(self, machines: Machines) -> None:
        self.settings = MachineSettings(machines)
        self.values = MachineValues(machines)
        self.drives = Drives(machines)
        self.adapters = Adapters(machines)
        self.ports = GuestPorts(machines)
        self.usb = GuestUsb(machines)
