"""Hold a service and all that is in it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from innkeeper.client import calls, transport
from innkeeper.errors import InnkeeperError

if TYPE_CHECKING:  # each collection is imported when it is first used: most programs use one or two
    from innkeeper.client.audit import AuditLog
    from innkeeper.client.channels import ChannelCollection
    from innkeeper.client.disks import HardDiskCollection
    from innkeeper.client.host import VirtualPC
    from innkeeper.client.machine_collection import MachineCollection
    from innkeeper.client.people import People
    from innkeeper.client.schedule import Schedule
    from innkeeper.client.servers import ServerCollection
    from innkeeper.client.tasks import TaskCollection
    from innkeeper.client.updates import UpdateCollection
    from innkeeper.client.windows import WindowCollection
    from innkeeper.wire.documented_events import DocumentedEvent
    from innkeeper.wire.messages import (
        AgentFilesMessage,
        EventMessage,
        HealthMessage,
        InnMessage,
        TonightMessage,
    )


class Inn:
    """One service and all that it looks after. Used from one thread; also as a context manager."""

    def __init__(self, door: transport.Transport, *, ends_session: bool = False) -> None:
        """``ends_session``: the session was begun for this connection, and ends with it."""
        self._transport = door
        self._ends_session = ends_session
        self._greeting = door.send(calls.inn())
        self._open = True

    def __enter__(self) -> Inn:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection to the service."""
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

    @functools.cached_property
    def machines(self) -> MachineCollection:
        """The machines of all hosts."""
        from innkeeper.client.machine_collection import MachineCollection

        return MachineCollection(self._transport)

    @functools.cached_property
    def virtual_pc(self) -> VirtualPC:
        """What belongs to no single machine."""
        from innkeeper.client.host import VirtualPC

        return VirtualPC(self._transport)

    @functools.cached_property
    def tasks(self) -> TaskCollection:
        """The running operations, and those that have ended."""
        from innkeeper.client.tasks import TaskCollection

        return TaskCollection(self._transport)

    @functools.cached_property
    def updates(self) -> UpdateCollection:
        """The bookings of updates."""
        from innkeeper.client.updates import UpdateCollection

        return UpdateCollection(self._transport)

    @functools.cached_property
    def windows(self) -> WindowCollection:
        """When machines may be maintained."""
        from innkeeper.client.windows import WindowCollection

        return WindowCollection(self._transport)

    @functools.cached_property
    def channels(self) -> ChannelCollection:
        """The host pipes that are joined to ports of guests."""
        from innkeeper.client.channels import ChannelCollection

        return ChannelCollection(self._transport)

    @functools.cached_property
    def schedule(self) -> Schedule:
        """The scheduled tasks."""
        from innkeeper.client.schedule import Schedule

        return Schedule(self._transport)

    @functools.cached_property
    def disks(self) -> HardDiskCollection:
        """The virtual hard disks that the service can reach."""
        from innkeeper.client.disks import HardDiskCollection

        return HardDiskCollection(self._transport)

    @functools.cached_property
    def people(self) -> People:
        """The accounts, roles and tokens."""
        from innkeeper.client.people import People

        return People(self._transport)

    @functools.cached_property
    def servers(self) -> ServerCollection:
        """The servers that share the service's database."""
        from innkeeper.client.servers import ServerCollection

        return ServerCollection(self._transport)

    @functools.cached_property
    def audit(self) -> AuditLog:
        """The audit log."""
        from innkeeper.client.audit import AuditLog

        return AuditLog(self._transport)

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
        from innkeeper.client.events import follow

        asked = {"kinds": ",".join(kinds), "machine": machine, "documented": ",".join(documented)}
        params = {name: value for name, value in asked.items() if value}
        return follow(self._transport, "/v1/events", params, last_id=last_id)
