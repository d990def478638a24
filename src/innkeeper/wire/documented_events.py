"""The documented events, and which of them each of Innkeeper's events is."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from innkeeper.wire.events import EventKind
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
    EventKind.MACHINE_STARTED: MachineState.RUNNING,
    EventKind.MACHINE_RESUMED: MachineState.RUNNING,
    EventKind.MACHINE_PAUSED: MachineState.PAUSED,
    EventKind.MACHINE_STOPPING: MachineState.TURNING_OFF,
    EventKind.MACHINE_STOPPED: MachineState.TURNED_OFF,
    EventKind.MACHINE_CRASHED: MachineState.TURNED_OFF,
    EventKind.MACHINE_SAVED: MachineState.SAVED,
    EventKind.MACHINE_MERGING: MachineState.MERGING_DRIVES,
}

_BY_KIND: Mapping[str, tuple[DocumentedEvent, ...]] = {
    EventKind.MACHINE_STOPPING: (DocumentedEvent.REQUEST_SHUTDOWN,),
    EventKind.MACHINE_REBOOTED: (DocumentedEvent.RESET,),
    EventKind.MACHINE_CRASHED: (DocumentedEvent.TRIPLE_FAULT,),
    EventKind.MACHINE_HEARTBEAT_STOPPED: (DocumentedEvent.HEARTBEAT_STOPPED,),
    EventKind.MACHINE_CONFIGURATION_CHANGED: (DocumentedEvent.CONFIGURATION_CHANGED,),
    EventKind.MACHINE_GUEST_LOGGED_OFF: (DocumentedEvent.GUEST_LOGOFF,),
    EventKind.MACHINE_DISK_OUT_OF_SPACE: (DocumentedEvent.DISK_OUT_OF_SPACE,),
    EventKind.AGENT_CONNECTED: (DocumentedEvent.ADDITIONS_AVAILABLE,),
    EventKind.AGENT_LOST: (DocumentedEvent.ADDITIONS_UNINSTALLED,),
}
_DRIVES: Mapping[tuple[str, object], DocumentedEvent] = {
    (EventKind.MACHINE_MEDIUM_INSERTED, "dvd"): DocumentedEvent.DVD_INSERT,
    (EventKind.MACHINE_MEDIUM_EJECTED, "dvd"): DocumentedEvent.DVD_EJECT,
    (EventKind.MACHINE_MEDIUM_INSERTED, "floppy"): DocumentedEvent.FLOPPY_INSERT,
    (EventKind.MACHINE_MEDIUM_EJECTED, "floppy"): DocumentedEvent.FLOPPY_EJECT,
}


def documented(kind: str, data: Mapping[str, object]) -> tuple[DocumentedEvent, ...]:
    """Return the documented events that an event of Innkeeper is; every one of them is logged."""
    found = list(_BY_KIND.get(kind, ()))
    if kind in STATES:
        found += [DocumentedEvent.STATE_CHANGE, DocumentedEvent.VM_STATE_CHANGE]
    if kind == EventKind.MACHINE_STOPPING and data.get("reason") == "guest":
        found.append(DocumentedEvent.GUEST_SHUTDOWN)
    drive = _DRIVES.get((kind, data.get("device")))
    if drive is not None:
        found.append(drive)
    return (*found, DocumentedEvent.EVENT_LOGGED)
