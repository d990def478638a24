"""Name the documented events, and say which of them each event of the house is."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from innkeeper.wire.states import MachineState


class DocumentedEvent(enum.StrEnum):
    """An event of the Virtual PC interfaces."""

    # IVMVirtualPCEvents
    EVENT_LOGGED = "IVMVirtualPCEvents.OnEventLogged"
    VM_STATE_CHANGE = "IVMVirtualPCEvents.OnVMStateChange"
    # IVMVirtualMachineEvents
    STATE_CHANGE = "IVMVirtualMachineEvents.OnStateChange"
    REQUEST_SHUTDOWN = "IVMVirtualMachineEvents.OnRequestShutdown"
    RESET = "IVMVirtualMachineEvents.OnReset"
    TRIPLE_FAULT = "IVMVirtualMachineEvents.OnTripleFault"
    HEARTBEAT_STOPPED = "IVMVirtualMachineEvents.OnHeartbeatStopped"
    CONFIGURATION_CHANGED = "IVMVirtualMachineEvents.OnConfigurationChanged"
    #: Never: no agent here changes how a guest shows itself.
    ENHANCED_VIDEO_MODE_CHANGED = "IVMVirtualMachineEvents.OnEnhancedVideoModeChanged"
    ADDITIONS_UNINSTALLED = "IVMVirtualMachineEvents.OnAdditionsUninstalled"
    ADDITIONS_AVAILABLE = "IVMVirtualMachineEvents.OnAdditionsAvailable"
    GUEST_SHUTDOWN = "IVMVirtualMachineEvents.OnGuestShutdown"
    GUEST_LOGOFF = "IVMVirtualMachineEvents.OnGuestLogoff"
    DISK_OUT_OF_SPACE = "IVMVirtualMachineEvents.OnDiskOutOfSpace"
    # IVMDVDDriveEvents and IVMFloppyDriveEvents
    DVD_INSERT = "IVMDVDDriveEvents.OnMediaInsert"
    DVD_EJECT = "IVMDVDDriveEvents.OnMediaEject"
    FLOPPY_INSERT = "IVMFloppyDriveEvents.OnMediaInsert"
    FLOPPY_EJECT = "IVMFloppyDriveEvents.OnMediaEject"


#: What a machine does once an event of this kind has happened to it.
STATES: Mapping[str, MachineState] = {
    "machine.started": MachineState.RUNNING,
    "machine.resumed": MachineState.RUNNING,
    "machine.paused": MachineState.PAUSED,
    "machine.stopping": MachineState.TURNING_OFF,
    "machine.stopped": MachineState.TURNED_OFF,
    "machine.crashed": MachineState.TURNED_OFF,
    "machine.saved": MachineState.SAVED,
    "machine.merging": MachineState.MERGING_DRIVES,
}

_BY_KIND: Mapping[str, tuple[DocumentedEvent, ...]] = {
    "machine.stopping": (DocumentedEvent.REQUEST_SHUTDOWN,),
    "machine.rebooted": (DocumentedEvent.RESET,),
    "machine.crashed": (DocumentedEvent.TRIPLE_FAULT,),
    "machine.heartbeat_stopped": (DocumentedEvent.HEARTBEAT_STOPPED,),
    "machine.configuration_changed": (DocumentedEvent.CONFIGURATION_CHANGED,),
    "machine.guest_logged_off": (DocumentedEvent.GUEST_LOGOFF,),
    "machine.disk_out_of_space": (DocumentedEvent.DISK_OUT_OF_SPACE,),
    "agent.connected": (DocumentedEvent.ADDITIONS_AVAILABLE,),
    "agent.lost": (DocumentedEvent.ADDITIONS_UNINSTALLED,),
}
_DRIVES: Mapping[tuple[str, object], DocumentedEvent] = {
    ("machine.medium_inserted", "dvd"): DocumentedEvent.DVD_INSERT,
    ("machine.medium_ejected", "dvd"): DocumentedEvent.DVD_EJECT,
    ("machine.medium_inserted", "floppy"): DocumentedEvent.FLOPPY_INSERT,
    ("machine.medium_ejected", "floppy"): DocumentedEvent.FLOPPY_EJECT,
}


def documented(kind: str, data: Mapping[str, object]) -> tuple[DocumentedEvent, ...]:
    """The documented events that an event of the house is; every one of them is logged."""
    found = list(_BY_KIND.get(kind, ()))
    if kind in STATES:
        found += [DocumentedEvent.STATE_CHANGE, DocumentedEvent.VM_STATE_CHANGE]
    if kind == "machine.stopping" and data.get("reason") == "guest":
        found.append(DocumentedEvent.GUEST_SHUTDOWN)
    drive = _DRIVES.get((kind, data.get("device")))
    if drive is not None:
        found.append(drive)
    return (*found, DocumentedEvent.EVENT_LOGGED)
