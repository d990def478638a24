"""Hold a service and all that is in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from types import TracebackType

from innkeeper.client import calls, transport
from innkeeper.client.audit import AuditLog
from innkeeper.client.channels import ChannelCollection
from innkeeper.client.disks import HardDiskCollection
from innkeeper.client.events import follow
from innkeeper.client.host import VirtualPC
from innkeeper.client.machines import MachineCollection
from innkeeper.client.people import People
from innkeeper.client.schedule import Schedule
from innkeeper.client.tasks import TaskCollection
from innkeeper.client.updates import UpdateCollection
from innkeeper.client.windows import WindowCollection
from innkeeper.errors import InnkeeperError
from innkeeper.wire.documented_events import DocumentedEvent
from innkeeper.wire.messages import AgentFilesMessage, EventMessage, HealthMessage, InnMessage, TonightMessage


class Inn:
    """One service and all that it looks after. Used from one thread; also as a context manager."""

    machines: MachineCollection
    tasks: TaskCollection

    def __init__(self, door: transport.Transport, *, ends_session: bool = False) -> None:
        """``ends_session``: the session was begun for this connection, and ends with it."""
        self._transport = door
        self._ends_session = ends_session
        self._greeting = door.send(calls.inn())
        self._open = True
        self.machines = MachineCollection(door)
        #: What belongs to no single machine.
        self.virtual_pc = VirtualPC(door)
        self.tasks = TaskCollection(door)
        self.updates = UpdateCollection(door)
        self.windows = WindowCollection(door)
        self.channels = ChannelCollection(door)
        self.schedule = Schedule(door)
        self.disks = HardDiskCollection(door)
        self.people = People(door)
        self.audit = AuditLog(door)

    def __enter__(self) -> Inn:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the service."""
        if self._ends_session and self._open:
            with contextlib.suppress(InnkeeperError):  # it ends by itself, later
                self._transport.send(calls.log_out())
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

    def events(
        self,
        kinds: Sequence[str] = (),
        *,
        machine: str = "",
        documented: Sequence[DocumentedEvent] = (),
        last_id: str = "",
    ) -> Iterator[EventMessage]:
        """Follow what happens from now on, or after ``last_id`` (``IVMVirtualPCEvents`` and its like).

        ``kinds`` are patterns such as ``task.*``; ``machine`` leaves the events of one machine, and
        ``documented`` those that are one of these documented events. An event of the kind ``events.lost``
        says that some before it can no longer be had: read anew.
        """
        asked = {"kinds": ",".join(kinds), "machine": machine, "documented": ",".join(documented)}
        params = {name: value for name, value in asked.items() if value}
        return follow(self._transport, "/v1/events", params, last_id=last_id)
