"""Ask a machine's guest what it is, and tell it what to do (``IVMGuestOS``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from innkeeper.client.calls import command, get, machine_path
from innkeeper.client.calls import machine_parts as calls
from innkeeper.client.tasks import Task
from innkeeper.client.transport import Transport
from innkeeper.errors import AgentError, ErrorCode, InvalidArgument
from innkeeper.wire.guest_os import (
    ForceRequest,
    GuestMessage,
    HeartbeatMessage,
    IntegrationMessage,
    KeptParameterMessage,
    ParameterList,
    ParameterMessage,
    ParameterRequest,
    SessionList,
    TimeSyncRequest,
)
from innkeeper.wire.messages import PrepareRequest

#: What the documents call the port of Windows' remote desktop.
_REMOTE_DESKTOP_PORT = 3389


class GuestOS:
    """One machine's guest.

    A question raises ``WrongState`` (``VM_E_VM_NOT_RUNNING``, ``VM_E_VM_PAUSED``) where it cannot be asked,
    and ``AgentError``: ``VM_E_ADDITIONS_FEATURE_NOT_AVAIL`` where nothing in it can answer,
    ``VM_E_ADDITIONS_NOT_AVAIL`` for heartbeat and version, ``VM_E_TIMED_OUT`` where it took too long.
    """

    def __init__(self, transport: Transport, name: str) -> None:
        self._transport = transport
        self._name = name
        #: The named values that it keeps (``GetParameter``, ``SetParameter``).
        self.parameters = GuestParameters(transport, name)

    # What it is

    def read(self) -> GuestMessage:
        """All that it says of itself, in one call (``GetOsVersionInfo``)."""
        return self._transport.send(get(self._path(), GuestMessage))

    @property
    def computer_name(self) -> str:
        """The guest's own name (``ComputerName``)."""
        return self.read().computer_name

    @property
    def os_name(self) -> str:
        """Such as ``Debian GNU/Linux 12 (bookworm)`` (``OSName``)."""
        return self.read().os_name

    @property
    def os_version(self) -> str:
        """Such as ``12 (bookworm)`` (``OSVersion``)."""
        return self.read().os_version

    @property
    def os_major_version(self) -> str:
        """Such as ``12`` (``OSMajorVersion``)."""
        return str(self.read().major_version)

    @property
    def os_minor_version(self) -> str:
        """Such as ``5``, ``0`` where it has none (``OSMinorVersion``)."""
        return str(self.read().minor_version)

    @property
    def os_build_number(self) -> str:
        """Windows' build; elsewhere the kernel's release (``OSBuildNumber``)."""
        return self.read().build_number

    @property
    def os_platform_id(self) -> str:
        """``2`` for Windows, as documented; elsewhere such as ``debian`` (``OSPlatformId``)."""
        return self.read().platform_id

    @property
    def csd_version(self) -> str:
        """Windows' service pack in words; elsewhere empty (``CSDVersion``)."""
        return self.read().service_pack

    @property
    def service_pack_major(self) -> str:
        """The number in ``csd_version``; ``0`` where there is none (``ServicePackMajor``)."""
        digits = "".join(each for each in self.csd_version if each.isdecimal())
        return digits or "0"

    @property
    def service_pack_minor(self) -> str:
        """Always ``0``: no agent tells it (``ServicePackMinor``)."""
        self.read()
        return "0"

    @property
    def product_type(self) -> str:
        """Windows: ``0x0000001`` a workstation, ``0x0000003`` a server; elsewhere ``0x0000000``."""
        return f"{self.read().product_type:#09x}"

    @property
    def suite_mask(self) -> str:
        """Always ``0x00000000`` (``SuiteMask``): Windows alone has such editions, and no agent tells them."""
        self.read()
        return "0x00000000"

    @property
    def multiple_user_sessions_allowed(self) -> bool:
        """True, once the guest has answered (``MultipleUserSessionsAllowed``): every Linux allows them."""
        return self.read().platform_id != "2"

    # Its agent

    def integration(self) -> IntegrationMessage:
        """Which agent answers, how its heart beats; also of a machine that is off."""
        return self._transport.send(get(self._path("integration"), IntegrationMessage))

    @property
    def integration_components_version(self) -> str:
        """The version of the agent that answers (``IntegrationComponentsVersion``)."""
        return self._transport.send(get(self._path("version"), ParameterMessage)).value

    def install_integration_components(self, *, force: bool = False) -> Task:
        """Put the task agent into it, through qemu-guest-agent (``InstallIntegrationComponents``).

        Raises ``WrongState`` (``VM_E_VM_NOT_RUNNING``) where it does not run.
        """
        accepted = self._transport.send(command(self._name, "guest/install", PrepareRequest(force=force)))
        return Task(self._transport, accepted.task)

    @property
    def heartbeat_percentage(self) -> int:
        """Percent of the expected heartbeats of the last minute (``HeartbeatPercentage``)."""
        return self._transport.send(get(self._path("heartbeat"), HeartbeatMessage)).percent

    @property
    def is_heartbeating(self) -> bool:
        """Whether any heartbeat came in the last minute (``IsHeartbeating``)."""
        return self.heartbeat_percentage > 0

    @property
    def can_shutdown(self) -> bool:
        """Whether an agent would power it off cleanly (``CanShutdown``)."""
        return self.integration().can_shut_down

    @property
    def is_host_time_sync_enabled(self) -> bool:
        """Whether its clock is set after every start, restore and resume (``IsHostTimeSyncEnabled``).

        It can be set while the machine is off: ``VM_E_PREF_VM_ACTIVE`` otherwise.
        """
        return self.integration().time_synchronised

    @is_host_time_sync_enabled.setter
    def is_host_time_sync_enabled(self, enabled: bool) -> None:
        body = TimeSyncRequest(enabled=enabled)
        self._transport.send(calls.set_time_sync(self._name, body))

    # Who is there

    def sessions(self, kind: int = 1) -> SessionList:
        """Return who is logged on, and whether somebody's screen is locked."""
        return self._transport.send(get(self._path("sessions"), SessionList, kind=kind))

    def is_user_logged_on(self, kind: int = 1) -> bool:
        """Whether anybody is logged on (``IsUserLoggedOn``); kind 0, RAIL, is refused: Windows' alone."""
        return bool(self.sessions(kind).sessions)

    @property
    def screen_locked(self) -> bool:
        """Whether somebody's screen is locked (``ScreenLocked``)."""
        locked = self.sessions().locked
        if locked is None:
            raise AgentError(
                f"The guest of {self._name} does not tell whether a screen is locked.",
                machine=self._name,
                code=ErrorCode.VM_E_ADDITIONS_FEATURE_NOT_AVAIL,
                advice="logind tells it; this guest has none, or its agent may not ask.",
            )
        return locked

    # What it can be told

    def logoff(self) -> Task:
        """Log everybody off (``Logoff``); late error ``ERROR_NO_SUCH_LOGON_SESSION`` where nobody is on."""
        return Task(self._transport, self._transport.send(command(self._name, "guest/log_off")).task)

    def restart(self, *, forced: bool = False) -> Task:
        """Reboot the guest, and wait until it has (``Restart``).

        Late errors: ``ERROR_MACHINE_LOCKED`` for a locked screen, ``ERROR_NOT_READY`` for an agent that went.
        Forced, none of them; a guest that does not go within a minute is reset.
        """
        return self._told("guest/restart", forced)

    def shutdown(self, *, forced: bool = False) -> Task:
        """Shut the guest down, and wait for it (``Shutdown``); forced and late errors as ``restart``."""
        return self._told("guest/shut_down", forced)

    # Its parameters

    def get_parameter(self, name: str) -> str:
        """A named value that it keeps (``GetParameter``)."""
        return self._transport.send(get(self._path("parameter"), ParameterMessage, key=name)).value

    def set_parameter(self, name: str, value: str) -> None:
        """Give it a named value (``SetParameter``): 255 characters without a backslash, 4,096 of value."""
        self.parameters[name] = value

    # Windows' remote desktop

    @property
    def terminal_server_port(self) -> int:
        """The documented default, 3389, for Windows; else 0 (``TerminalServerPort``)."""
        return _REMOTE_DESKTOP_PORT if self.read().platform_id == "2" else 0

    @property
    def terminal_services_initialized(self) -> bool:
        """False but for Windows (``TerminalServicesInitialized``): see ``Machine.display`` for its screen."""
        return self.terminal_server_port != 0

    def _told(self, what: str, forced: bool) -> Task:
        accepted = self._transport.send(command(self._name, what, ForceRequest(forced=forced)))
        return Task(self._transport, accepted.task)

    def _path(self, what: str = "") -> str:
        return machine_path(self._name, f"guest/{what}" if what else "guest")


class GuestParameters(Mapping[str, str]):
    """The named values of one guest. ``[]`` asks the guest; iterating gives what the host knows of them."""

    def __init__(self, transport: Transport, name: str) -> None:
        self._transport = transport
        self._name = name

    def __getitem__(self, key: str) -> str:
        """A value, as the guest has it now; ``KeyError`` where it has none of that name."""
        try:
            path = machine_path(self._name, "guest/parameter")
            return self._transport.send(get(path, ParameterMessage, key=key)).value
        except InvalidArgument as error:
            if error.code is ErrorCode.ERROR_FILE_NOT_FOUND:
                raise KeyError(key) from error
            raise

    def __setitem__(self, key: str, value: str) -> None:
        self._put(key, value)

    def __delitem__(self, key: str) -> None:
        self._put(key, None)

    def __iter__(self) -> Iterator[str]:
        return (each.name for each in self.list())

    def __len__(self) -> int:
        return len(self.list())

    def list(self) -> tuple[KeptParameterMessage, ...]:
        """All that the host knows of, with who set them; also of a machine that is off."""
        path = machine_path(self._name, "guest/parameters")
        return self._transport.send(get(path, ParameterList)).parameters

    def _put(self, key: str, value: str | None) -> None:
        body = ParameterRequest(key=key, value=value)
        self._transport.send(calls.set_parameter(self._name, body))
