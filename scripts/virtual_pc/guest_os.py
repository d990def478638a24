"""Declare: the guest operating system."""

from virtual_pc.member import Carriage, Interface, Member

_DIRECT = Carriage.DIRECT
_EMULATED = Carriage.EMULATED
_MEANINGLESS = Carriage.MEANINGLESS
_NEAREST = Carriage.NEAREST

GUEST_OS = Interface(
    "IVMGuestOS",
    (
        Member(
            "CanShutdown",
            _DIRECT,
            "GuestOS.can_shutdown",
            "Whether the task agent or qemu-guest-agent answers; the power button alone is False.",
        ),
        Member(
            "ComputerName",
            _DIRECT,
            "GuestOS.computer_name",
            "The task agent's word, else qemu-guest-agent's (guest-get-host-name).",
        ),
        Member(
            "CSDVersion",
            _NEAREST,
            "GuestOS.csd_version",
            "Windows' service pack as qemu-guest-agent has it; empty for Linux.",
        ),
        Member(
            "GetOsVersionInfo",
            _DIRECT,
            "GuestOS.read",
            "All facts in one message; for Linux its os-release instead of Windows' structure, "
            "whose fields are 0.",
        ),
        Member(
            "GetParameter",
            _EMULATED,
            "GuestOS.get_parameter",
            "Kept by the task agent in a file; the guest's programs use `innkeeper-agent param`. "
            "An unknown name: ERROR_FILE_NOT_FOUND. Through qemu-guest-agent the same file.",
        ),
        Member(
            "HeartbeatPercentage",
            _EMULATED,
            "GuestOS.heartbeat_percentage",
            "Ten pings a minute to the task agent; qemu-guest-agent, where only that is there, is "
            "asked twice a minute.",
        ),
        Member(
            "InstallIntegrationComponents",
            _NEAREST,
            "GuestOS.install_integration_components",
            "A task that puts the task agent into the guest through qemu-guest-agent; no medium is inserted.",
        ),
        Member(
            "IntegrationComponentsVersion",
            _DIRECT,
            "GuestOS.integration_components_version",
            "The version of the agent that answers.",
        ),
        Member(
            "IsHeartbeating",
            _EMULATED,
            "GuestOS.is_heartbeating",
            "Whether any ping was answered in the last minute. No machine is restarted for its silence.",
        ),
        Member(
            "IsHostTimeSyncEnabled",
            _EMULATED,
            "GuestOS.is_host_time_sync_enabled",
            "A configuration value; if on, the guest's clock is set when it begins to answer "
            "after a start, a restore or a resume.",
        ),
        Member(
            "IsUserLoggedOn",
            _NEAREST,
            "GuestOS.is_user_logged_on",
            "Whether anybody is logged on. RAIL sessions (0) are Windows' alone: E_INVALIDARG.",
        ),
        Member(
            "Logoff",
            _NEAREST,
            "GuestOS.logoff",
            "logind ends every user's sessions, else each gets SIGHUP.",
        ),
        Member(
            "MultipleUserSessionsAllowed",
            _MEANINGLESS,
            "GuestOS.multiple_user_sessions_allowed",
            "A licence of Windows'. True for every other system.",
        ),
        Member(
            "OSBuildNumber",
            _DIRECT,
            "GuestOS.os_build_number",
            "Windows' build; the kernel's release elsewhere.",
        ),
        Member("OSMajorVersion", _DIRECT, "GuestOS.os_major_version", "The first number of VERSION_ID."),
        Member(
            "OSMinorVersion",
            _DIRECT,
            "GuestOS.os_minor_version",
            "The second number of VERSION_ID, or 0.",
        ),
        Member("OSName", _DIRECT, "GuestOS.os_name", "PRETTY_NAME of os-release."),
        Member(
            "OSPlatformId",
            _NEAREST,
            "GuestOS.os_platform_id",
            "2 for Windows, as documented; ID of os-release elsewhere.",
        ),
        Member("OSVersion", _DIRECT, "GuestOS.os_version", "VERSION of os-release."),
        Member(
            "ProductType",
            _NEAREST,
            "GuestOS.product_type",
            "Windows' client or server; 0x0000000 elsewhere.",
        ),
        Member(
            "Restart",
            _DIRECT,
            "GuestOS.restart",
            "Asked through the agent; ended when another boot is seen. Forced: the power button "
            "where no agent answers, a reset after a minute.",
        ),
        Member(
            "ScreenLocked",
            _NEAREST,
            "GuestOS.screen_locked",
            "logind's LockedHint of any user's session; refused where nobody can say.",
        ),
        Member(
            "ServicePackMajor",
            _NEAREST,
            "GuestOS.service_pack_major",
            "The number in CSDVersion, else 0.",
        ),
        Member("ServicePackMinor", _NEAREST, "GuestOS.service_pack_minor", "Always 0: no agent tells it."),
        Member(
            "SetParameter",
            _EMULATED,
            "GuestOS.set_parameter",
            "Kept by the host before it is sent, and sent again after a roll back: 256 names, "
            "values of 4,096 characters, 65,536 together.",
        ),
        Member(
            "Shutdown",
            _DIRECT,
            "GuestOS.shutdown",
            "Asked through the agent; ended when the machine is off. Forced: the power button "
            "where no agent answers, turned off after a minute.",
        ),
        Member("SuiteMask", _MEANINGLESS, "GuestOS.suite_mask", "Editions of Windows. Always 0x00000000."),
        Member(
            "TerminalServerPort",
            _NEAREST,
            "GuestOS.terminal_server_port",
            "3389 for Windows, 0 elsewhere; not looked for. A channel reaches any port.",
        ),
        Member(
            "TerminalServicesInitialized",
            _NEAREST,
            "GuestOS.terminal_services_initialized",
            "False but for Windows; not looked for. The screen of any guest: `Machine.display`.",
        ),
    ),
)
