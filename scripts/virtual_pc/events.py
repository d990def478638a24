"""Declare: the events."""

from virtual_pc.member import Carriage, Interface, Member

_DIRECT = Carriage.DIRECT
_EMULATED = Carriage.EMULATED
_NEAREST = Carriage.NEAREST

VIRTUAL_PC_EVENTS = Interface(
    "IVMVirtualPCEvents",
    (
        Member(
            "OnEventLogged",
            _EMULATED,
            "DocumentedEvent.EVENT_LOGGED",
            "Every event of the stream; its id takes the place of the message's number.",
        ),
        Member(
            "OnVMStateChange",
            _EMULATED,
            "DocumentedEvent.VM_STATE_CHANGE",
            "The events that change a machine's state, of all machines; the state: "
            "`EventMessage.machine_state`.",
        ),
    ),
)

VIRTUAL_MACHINE_EVENTS = Interface(
    "IVMVirtualMachineEvents",
    (
        Member(
            "OnAdditionsAvailable",
            _DIRECT,
            "DocumentedEvent.ADDITIONS_AVAILABLE",
            "`agent.connected`: the task agent has begun a session.",
        ),
        Member(
            "OnAdditionsUninstalled",
            _NEAREST,
            "DocumentedEvent.ADDITIONS_UNINSTALLED",
            "`agent.lost`: it has stopped; whether it was uninstalled cannot be told.",
        ),
        Member(
            "OnConfigurationChanged",
            _EMULATED,
            "DocumentedEvent.CONFIGURATION_CHANGED",
            "`machine.configuration_changed`, with `config_key` and `config_data`.",
        ),
        Member(
            "OnDiskOutOfSpace",
            _EMULATED,
            "DocumentedEvent.DISK_OUT_OF_SPACE",
            "`machine.disk_out_of_space`, with `critically_low`: below 100 MB, and below 20 MB, "
            "where the machine is paused.",
        ),
        Member(
            "OnEnhancedVideoModeChanged",
            _NEAREST,
            "DocumentedEvent.ENHANCED_VIDEO_MODE_CHANGED",
            "Never: no agent here changes how a guest shows itself.",
        ),
        Member(
            "OnGuestLogoff",
            _NEAREST,
            "DocumentedEvent.GUEST_LOGOFF",
            "`machine.guest_logged_off`, for those whom GuestOS.Logoff logged off (EXTERNAL); "
            "guests do not tell of others.",
        ),
        Member(
            "OnGuestShutdown",
            _DIRECT,
            "DocumentedEvent.GUEST_SHUTDOWN",
            "`machine.stopping` whose reason is `guest`.",
        ),
        Member(
            "OnHeartbeatStopped",
            _EMULATED,
            "DocumentedEvent.HEARTBEAT_STOPPED",
            "`machine.heartbeat_stopped`: a heart that was heard, and not for a minute. No "
            "machine is restarted for it.",
        ),
        Member(
            "OnRequestShutdown",
            _DIRECT,
            "DocumentedEvent.REQUEST_SHUTDOWN",
            "`machine.stopping`: it powers off.",
        ),
        Member("OnReset", _DIRECT, "DocumentedEvent.RESET", "`machine.rebooted`."),
        Member(
            "OnStateChange",
            _EMULATED,
            "DocumentedEvent.STATE_CHANGE",
            "As OnVMStateChange, of one machine.",
        ),
        Member(
            "OnTripleFault",
            _NEAREST,
            "DocumentedEvent.TRIPLE_FAULT",
            "`machine.crashed`: QEMU tells of crashes, and not of a triple fault by that name.",
        ),
    ),
)

DVD_DRIVE_EVENTS = Interface(
    "IVMDVDDriveEvents",
    (
        Member(
            "OnMediaEject",
            _DIRECT,
            "DocumentedEvent.DVD_EJECT",
            "`machine.medium_ejected` with device `dvd`; its path is empty where the guest did it.",
        ),
        Member(
            "OnMediaInsert",
            _DIRECT,
            "DocumentedEvent.DVD_INSERT",
            "`machine.medium_inserted` with device `dvd` and `media_path`.",
        ),
    ),
)

FLOPPY_DRIVE_EVENTS = Interface(
    "IVMFloppyDriveEvents",
    (
        Member(
            "OnMediaEject",
            _DIRECT,
            "DocumentedEvent.FLOPPY_EJECT",
            "As of a DVD drive, with device `floppy`.",
        ),
        Member(
            "OnMediaInsert",
            _DIRECT,
            "DocumentedEvent.FLOPPY_INSERT",
            "As of a DVD drive, with device `floppy`.",
        ),
    ),
)
