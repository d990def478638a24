"""One host of virtual machines: its name, and a port for each thing that can be asked of it."""

from __future__ import annotations

import dataclasses

from innkeeper.machines.ports.agent_ports import AgentPorts
from innkeeper.machines.ports.backups import Backups
from innkeeper.machines.ports.configurations import Configurations
from innkeeper.machines.ports.connection import HostConnection
from innkeeper.machines.ports.console_logs import ConsoleLogs
from innkeeper.machines.ports.definitions import Definitions
from innkeeper.machines.ports.disks import Disks
from innkeeper.machines.ports.guest_agents import QemuGuestAgents
from innkeeper.machines.ports.identity import HostIdentity
from innkeeper.machines.ports.image_files import ImageFiles
from innkeeper.machines.ports.image_maker import ImageMaker
from innkeeper.machines.ports.information import HostInformation
from innkeeper.machines.ports.input_devices import InputDevices
from innkeeper.machines.ports.inventory import Inventory
from innkeeper.machines.ports.lifecycle import Lifecycle
from innkeeper.machines.ports.memory_points import MemoryPoints
from innkeeper.machines.ports.saved_states import SavedStates
from innkeeper.machines.ports.screens import Screens
from innkeeper.machines.ports.state_files import StateFiles
from innkeeper.machines.ports.undo_disks import UndoDisks
from innkeeper.machines.ports.usage_meter import UsageMeter


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """One host and its machines.

    Every call of its ports is idempotent where that has a meaning, and may be made again after a crash;
    every failure is one of ours (``errors.py``).
    """

    #: The host's name, unique among the service's hosts.
    name: str
    #: Where the host is: libvirt's URI, or ``fake://`` and a directory for a simulated one.
    uri: str
    #: What tells the host from all others, whatever its name and address.
    identity: HostIdentity
    #: Opens and closes the connection to the host.
    connection: HostConnection
    #: The machines that the host has, and their states.
    inventory: Inventory
    #: Persistent definitions (libvirt XML): made, renamed, given up.
    definitions: Definitions
    #: The hardware and settings of machines, read and changed.
    configurations: Configurations
    #: Starts, pauses, resets and stops machines.
    lifecycle: Lifecycle
    #: Saves, restores and discards the memory of machines.
    saved_states: SavedStates
    #: Overlays that take the writes of disks: added, merged, dropped.
    undo_disks: UndoDisks
    #: Memory as part of undo points: kept, and brought back.
    memory_points: MemoryPoints
    #: What others keep of disks for their incremental backups, and the backups that run.
    backups: Backups
    #: UEFI variables and TPM state, beside the disks.
    state_files: StateFiles
    #: Disk images, as the hypervisor sees them.
    disks: Disks
    #: Disk images, as files.
    files: ImageFiles
    #: Makes image files.
    images: ImageMaker
    #: The displays and serial consoles of machines.
    screens: Screens
    #: What serial consoles have printed, as far as it is kept.
    console_logs: ConsoleLogs
    #: The keyboards and mice of machines.
    input_devices: InputDevices
    #: qemu-guest-agent in the guests.
    guest_agents: QemuGuestAgents
    #: The virtio-serial ports of the task agents.
    agent_ports: AgentPorts
    #: Facts of the host itself: memory, networks, USB devices, acceleration.
    information: HostInformation
    #: Processor, memory, disk and network use of machines.
    usage: UsageMeter

    @property
    def id(self) -> str:
        """What the host is called by programs; empty as long as it has never answered."""
        return self.identity.id
