"""Declare every member of the Virtual PC interfaces: where it is in Python, and how Linux carries it.

The table in ``docs/reference/virtual-pc.md`` is written from here; a test sees that each attribute exists.
"""

from virtual_pc import (
    accountant,
    devices,
    events,
    guest_os,
    hard_disk,
    host,
    machine,
    screen,
    task,
)
from virtual_pc.member import Carriage as Carriage
from virtual_pc.member import Interface as Interface
from virtual_pc.member import Member as Member

#: All documented interfaces.
INTERFACES = (
    host.VIRTUAL_PC,
    machine.VIRTUAL_MACHINE,
    task.TASK,
    hard_disk.HARD_DISK,
    devices.HARD_DISK_CONNECTION,
    devices.DVD_DRIVE,
    devices.FLOPPY_DRIVE,
    devices.NETWORK_ADAPTER,
    devices.SERIAL_PORT,
    devices.PARALLEL_PORT,
    guest_os.GUEST_OS,
    accountant.ACCOUNTANT,
    screen.DISPLAY,
    screen.KEYBOARD,
    screen.MOUSE,
    host.HOST_INFO,
    host.VIRTUAL_NETWORK,
    host.USB_DEVICE,
    events.VIRTUAL_PC_EVENTS,
    events.VIRTUAL_MACHINE_EVENTS,
    events.DVD_DRIVE_EVENTS,
    events.FLOPPY_DRIVE_EVENTS,
)
