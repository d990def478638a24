"""Declare: the events."""

from innkeeper.client.virtual_pc.member import Carriage, Interface, Member

_DIRECT = Carriage.DIRECT
_EMULATED = Carriage.EMULATED
_NEAREST = Carriage.NEAREST

VIRTUAL_PC_EVENTS = Interface(
    "IVMVirtualPCEvents",
    (
        Member("OnEventLogged", _EMULATED, "", "Innkeeper’s event log id → journald MESSAGE_ID."),
        Member("OnVMStateChange", _EMULATED, "", "State machine broadcast."),
    ),
)

VIRTUAL_MACHINE_EVENTS = Interface(
    "IVMVirtualMachineEvents",
    (
        Member("OnAdditionsAvailable", _DIRECT, "", "AGENT_LIFECYCLE connected."),
        Member(
            "OnAdditionsUninstalled",
            _NEAREST,
            "",
            "AGENT_LIFECYCLE disconnected (cannot tell uninstall from stop).",
        ),
        Member(
            "OnConfigurationChanged",
            _EMULATED,
            "",
            "Innkeeper’s store event + METADATA_CHANGE + lifecycle DEFINED/UPDATED.",
        ),
        Member(
            "OnDiskOutOfSpace",
            _EMULATED,
            "",
            "Innkeeper’s statvfs watch: <100 MB warn, <20 MB critical + suspend; plus "
            "IO_ERROR_REASON enospc (QEMU werror=enospc pauses by itself).",
        ),
        Member("OnEnhancedVideoModeChanged", _NEAREST, "", "Vdagent connect/disconnect; else never fired."),
        Member(
            "OnGuestLogoff",
            _NEAREST,
            "",
            "Diff of guest-get-users polls (kind Normal only; External when ours).",
        ),
        Member("OnGuestShutdown", _DIRECT, "", "Lifecycle SHUTDOWN, detail GUEST."),
        Member(
            "OnHeartbeatStopped", _EMULATED, "", "Heartbeat engine; also crash: lifecycle CRASHED / pvpanic."
        ),
        Member("OnRequestShutdown", _DIRECT, "", "Lifecycle SHUTDOWN event (before STOPPED)."),
        Member("OnReset", _DIRECT, "", "EVENT_ID_REBOOT."),
        Member("OnStateChange", _EMULATED, "", "Our state machine."),
        Member(
            "OnTripleFault",
            _NEAREST,
            "",
            "QEMU turns triple fault into reset/shutdown; RESET reason 'guest-reset' only – set "
            "-no-reboot/on_reboot=destroy to tell; pvpanic for kernel panic.",
        ),
    ),
)

DVD_DRIVE_EVENTS = Interface(
    "IVMDVDDriveEvents",
    (
        Member("OnMediaEject", _DIRECT, "", "VIR_DOMAIN_EVENT_ID_TRAY_CHANGE (OPEN) / DISK_CHANGE."),
        Member("OnMediaInsert", _DIRECT, "", "TRAY_CHANGE (CLOSE) / DISK_CHANGE."),
    ),
)

FLOPPY_DRIVE_EVENTS = Interface(
    "IVMFloppyDriveEvents",
    (
        Member("OnMediaEject", _DIRECT, "", "TRAY_CHANGE/DISK_CHANGE."),
        Member("OnMediaInsert", _DIRECT, "", "TRAY_CHANGE/DISK_CHANGE."),
    ),
)
