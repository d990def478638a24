"""Connect to a service and use its objects remotely."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from innkeeper.client.accountant import Accountant as Accountant
    from innkeeper.client.aio import AsyncInn as AsyncInn
    from innkeeper.client.aio import connect_async as connect_async
    from innkeeper.client.connection import connect as connect
    from innkeeper.client.devices import DVDDrive as DVDDrive
    from innkeeper.client.devices import FloppyDrive as FloppyDrive
    from innkeeper.client.devices import HardDiskConnection as HardDiskConnection
    from innkeeper.client.devices import NetworkAdapter as NetworkAdapter
    from innkeeper.client.devices import ParallelPort as ParallelPort
    from innkeeper.client.devices import SerialPort as SerialPort
    from innkeeper.client.disks import HardDisk as HardDisk
    from innkeeper.client.disks import HardDiskCollection as HardDiskCollection
    from innkeeper.client.display import Display as Display
    from innkeeper.client.guest_os import GuestOS as GuestOS
    from innkeeper.client.host import HostInfo as HostInfo
    from innkeeper.client.host import USBDevice as USBDevice
    from innkeeper.client.host import VirtualNetwork as VirtualNetwork
    from innkeeper.client.host import VirtualPC as VirtualPC
    from innkeeper.client.inn import Inn as Inn
    from innkeeper.client.keyboard import Keyboard as Keyboard
    from innkeeper.client.keyboard import Mouse as Mouse
    from innkeeper.client.machine_collection import MachineCollection as MachineCollection
    from innkeeper.client.machines import Machine as Machine
    from innkeeper.client.progress import show as show
    from innkeeper.client.tasks import Task as Task
    from innkeeper.client.updates import Update as Update
    from innkeeper.client.wires import Wire as Wire
    from innkeeper.wire.documented_events import DocumentedEvent as DocumentedEvent
    from innkeeper.wire.events import EventKind as EventKind
    from innkeeper.wire.messages import EventMessage as EventMessage

#: Where each public name is: its module is imported when the name is first used, so that a program that
#: uses little of the client loads little of it.
_HOMES = {
    "Accountant": "innkeeper.client.accountant",
    "AsyncInn": "innkeeper.client.aio",
    "connect_async": "innkeeper.client.aio",
    "connect": "innkeeper.client.connection",
    "DVDDrive": "innkeeper.client.devices",
    "FloppyDrive": "innkeeper.client.devices",
    "HardDiskConnection": "innkeeper.client.devices",
    "NetworkAdapter": "innkeeper.client.devices",
    "ParallelPort": "innkeeper.client.devices",
    "SerialPort": "innkeeper.client.devices",
    "HardDisk": "innkeeper.client.disks",
    "HardDiskCollection": "innkeeper.client.disks",
    "Display": "innkeeper.client.display",
    "GuestOS": "innkeeper.client.guest_os",
    "HostInfo": "innkeeper.client.host",
    "USBDevice": "innkeeper.client.host",
    "VirtualNetwork": "innkeeper.client.host",
    "VirtualPC": "innkeeper.client.host",
    "Inn": "innkeeper.client.inn",
    "Keyboard": "innkeeper.client.keyboard",
    "Mouse": "innkeeper.client.keyboard",
    "Machine": "innkeeper.client.machines",
    "MachineCollection": "innkeeper.client.machine_collection",
    "show": "innkeeper.client.progress",
    "Task": "innkeeper.client.tasks",
    "Update": "innkeeper.client.updates",
    "Wire": "innkeeper.client.wires",
    "DocumentedEvent": "innkeeper.wire.documented_events",
    "EventKind": "innkeeper.wire.events",
    "EventMessage": "innkeeper.wire.messages",
}


if not TYPE_CHECKING:  # type checkers read the imports above

    def __getattr__(name: str) -> object:
        """Load a public name when it is first used."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
        return value

    def __dir__() -> list[str]:
        """The public names too, for those who look around."""
        return sorted({*globals(), *_HOMES})
