"""Declare: the guest operating system."""

from innkeeper.client.virtual_pc.member import Carriage, Interface, Member

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
            "",
            "Agent connected (guest-info lists guest-shutdInnkeeper’s enabled); else ACPI only → False.",
        ),
        Member("ComputerName", _DIRECT, "", "VirDomainGetHostname(AGENT) / guest-get-host-name."),
        Member("CSDVersion", _NEAREST, "", "Guest-get-osinfo version string; empty for Linux."),
        Member(
            "GetOsVersionInfo",
            _DIRECT,
            "",
            "VirDomainGetGuestInfo(OS) / guest-get-osinfo → struct; Windows fields parsed from "
            "kernel-version/version-id.",
        ),
        Member(
            "GetParameter",
            _EMULATED,
            "",
            "No KVP in QEMU: Innkeeper’s Innkeeper guest helper on virtio-serial "
            "org.innkeeper.kvp; fallback guest-file-open/read on a key file "
            "(/var/lib/innkeeper/kvp/NAME) ; Windows guest: guest-exec reg query.",
        ),
        Member(
            "HeartbeatPercentage",
            _EMULATED,
            "",
            "Innkeeper’s counter: guest-ping every 6 s (10/min), percent answered in the last 60 s.",
        ),
        Member(
            "InstallIntegrationComponents",
            _NEAREST,
            "",
            "Insert qemu-guest-agent / virtio-win ISO in an empty DVD drive; cannot force install "
            "– returns after media inserted (state it).",
        ),
        Member("IntegrationComponentsVersion", _DIRECT, "", "Guest-info → version."),
        Member(
            "IsHeartbeating",
            _EMULATED,
            "",
            "Any guest-ping answer within the last block (60 s); agent channel state from AGENT_LIFECYCLE.",
        ),
        Member(
            "IsHostTimeSyncEnabled",
            _EMULATED,
            "",
            "Metadata flag; if on: virDomainSetTime(SYNC)/guest-set-time after resume/restore; "
            "cannot change while running or saved.",
        ),
        Member(
            "IsUserLoggedOn",
            _NEAREST,
            "",
            "Guest-get-users non-empty (virDomainGetGuestInfo USERS); Rail/RDP session kinds: for "
            "Linux session type not knInnkeeper’s → E_INVALIDARG for Rail.",
        ),
        Member(
            "Logoff",
            _NEAREST,
            "",
            "Guest-exec 'loginctl terminate-user …' / Windows 'logoff'; needs guest-exec allowed; "
            "ERROR_NO_SUCH_LOGON_SESSION 0x80070520 in Task.Error when guest-get-users is empty.",
        ),
        Member(
            "MultipleUserSessionsAllowed",
            _MEANINGLESS,
            "",
            "Terminal Services concept; Linux guest: always True by honest reading; else FEATURE_NOT_AVAIL.",
        ),
        Member("OSBuildNumber", _DIRECT, "", "Osinfo kernel-release / Windows version build."),
        Member("OSMajorVersion", _DIRECT, "", "Split osinfo version-id."),
        Member("OSMinorVersion", _DIRECT, "", "Split osinfo version-id."),
        Member("OSName", _DIRECT, "", "Osinfo pretty-name."),
        Member(
            "OSPlatformId",
            _NEAREST,
            "",
            "'2' for mswindows; for Linux return osinfo id (document the difference).",
        ),
        Member("OSVersion", _DIRECT, "", "Osinfo version."),
        Member(
            "ProductType",
            _NEAREST,
            "",
            "Osinfo variant (Windows 'client'/'server'); Linux: variant-id or empty.",
        ),
        Member(
            "Restart",
            _DIRECT,
            "",
            "Forced=False: virDomainReboot(GUEST_AGENT) (guest-shutdInnkeeper’s mode=reboot); "
            "forced=True: agent with ACPI fallback then virDomainReset; completion = REBOOT "
            "event.",
        ),
        Member(
            "ScreenLocked",
            _NEAREST,
            "",
            "Guest-exec loginctl show-session LockedHint; else FEATURE_NOT_AVAIL.",
        ),
        Member("ServicePackMajor", _NEAREST, "", "Windows via guest-exec; Linux 0."),
        Member("ServicePackMinor", _NEAREST, "", "As above."),
        Member("SetParameter", _EMULATED, "", "Innkeeper’s KVP channel (see GetParameter)."),
        Member(
            "Shutdown",
            _DIRECT,
            "Machine.shutdown",
            "Forced=False: virDomainShutdownFlags(GUEST_AGENT); forced=True: agent → ACPI → "
            "destroy after timeout; completion = lifecycle SHUTDOWN/STOPPED event; ShutdownAbort "
            "result if the guest cancels.",
        ),
        Member("SuiteMask", _MEANINGLESS, "", "Windows only, guest-exec wmic; Linux: '0x0'."),
        Member(
            "TerminalServerPort",
            _NEAREST,
            "",
            "Configured RDP port (default 3389) probed by Innkeeper channel; 0 when none.",
        ),
        Member(
            "TerminalServicesInitialized",
            _NEAREST,
            "",
            "Probe TCP port in guest via helper; S_FALSE until known.",
        ),
    ),
)
