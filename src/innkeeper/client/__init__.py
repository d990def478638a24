"""Connect to an inn and use its objects remotely."""

from innkeeper.client.accountant import Accountant as Accountant
from innkeeper.client.connect import connect as connect
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
from innkeeper.client.machines import Machine as Machine
from innkeeper.client.machines import MachineCollection as MachineCollection
from innkeeper.client.tasks import Task as Task
from innkeeper.client.updates import Update as Update
from innkeeper.client.wires import Wire as Wire
from innkeeper.wire.documented_events import DocumentedEvent as DocumentedEvent
from innkeeper.wire.messages import EventMessage as EventMessage
