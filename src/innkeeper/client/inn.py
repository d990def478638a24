"""Connect to an inn (``TaskService.Connect``), and hold what is in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from innkeeper.client import calls, transport
from innkeeper.client.channels import ChannelCollection
from innkeeper.client.disks import HardDiskCollection
from innkeeper.client.events import follow
from innkeeper.client.machines import MachineCollection
from innkeeper.client.schedule import Schedule
from innkeeper.client.tasks import TaskCollection
from innkeeper.client.updates import UpdateCollection
from innkeeper.client.windows import WindowCollection
from innkeeper.errors import ErrorCode, InvalidArgument, NotSupported
from innkeeper.wire.messages import AgentFilesMessage, EventMessage, HealthMessage, InnMessage, TonightMessage


class Inn:
    """One service and all that it looks after. Used from one thread; also as a context manager."""

    machines: MachineCollection
    tasks: TaskCollection

    def __init__(self, door: transport.Transport) -> None:
        self._transport = door
        self._greeting = door.send(calls.inn())
        self._open = True
        self.machines = MachineCollection(door)
        self.tasks = TaskCollection(door)
        self.updates = UpdateCollection(door)
        self.windows = WindowCollection(door)
        self.channels = ChannelCollection(door)
        self.schedule = Schedule(door)
        self.disks = HardDiskCollection(door)

    def __enter__(self) -> Inn:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the service."""
        self._open = False
        self._transport.close()

    @property
    def connected(self) -> bool:
        """Whether the connection is open (``Connected``)."""
        return self._open

    @property
    def target_server(self) -> str:
        """The computer that the service runs on (``TargetServer``)."""
        return self._greeting.server

    @property
    def connected_user(self) -> str:
        """The user that the service takes the caller for (``ConnectedUser``)."""
        return self._greeting.user

    @property
    def connected_domain(self) -> str:
        """The realm that this user belongs to (``ConnectedDomain``)."""
        return self._greeting.domain

    @property
    def highest_version(self) -> int:
        """The highest version of the documented interface, major in the upper half (``HighestVersion``)."""
        return self._greeting.highest_version

    def read(self) -> InnMessage:
        """What the service says of itself now."""
        return self._transport.send(calls.inn())

    def health(self) -> HealthMessage:
        """Whether the service and its hosts are well."""
        return self._transport.send(calls.health())

    def agent_files(self) -> AgentFilesMessage:
        """The guest's task agent, for guests that ``Machine.prepare`` cannot reach."""
        return self._transport.send(calls.agent_files())

    def tonight(self) -> TonightMessage:
        """What will happen, to whom, when, on which host, and whether it fits."""
        return self._transport.send(calls.tonight())

    def events(self, kinds: Sequence[str] = (), *, last_id: str = "") -> Iterator[EventMessage]:
        """Follow what happens from now on, or after ``last_id``; ``kinds`` are patterns such as ``task.*``.

        An event of the kind ``events.lost`` says that some before it can no longer be had: read anew.
        """
        params = {"kinds": ",".join(kinds)} if kinds else {}
        return follow(self._transport, "/v1/events", params, last_id=last_id)


def connect(
    server: str | None = None,
    user: str | None = None,
    domain: str | None = None,
    password: str | None = None,
    *,
    socket: Path | str | None = None,
) -> Inn:
    """Connect to the service on this computer as the current user (``TaskService.Connect``).

    ``socket`` names its local door where it is not at one of the usual places. Raises ``ServiceError``
    (0x80041315) where the service is not running, ``NotPermitted`` (0x80070005) where the caller may not
    use it, ``InvalidArgument`` (0x8007000E) for some but not all of user, domain and password.
    """
    given = [value for value in (user, domain, password) if value]
    if given and len(given) < 3:
        raise InvalidArgument(
            "A user, a domain and a password come together or not at all.",
            code=ErrorCode.E_OUTOFMEMORY,
            advice="Give all three, or none to connect as the current user.",
        )
    if given or server not in (None, "", ".", "localhost"):
        raise NotSupported(
            "This version connects to the service on this computer, as the current user.",
            advice="Run it there, for example: ssh HOST innkeeper machine list",
        )
    return Inn(transport.local(Path(socket) if socket is not None else None))
