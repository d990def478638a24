"""The directory of an inn: what is known at each server of every host's machines."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Collection, Sequence
from typing import Protocol

from innkeeper.machines.places import Place
from innkeeper.wire.states import MachineState


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MachineEntry:
    """One machine as the owner of its host saw it last."""

    #: ``<host id>/<machine's UUID>``.
    key: str
    host_id: str
    #: The host's name.
    host: str
    name: str
    uuid: str
    state: MachineState
    labels: tuple[str, ...]
    #: What the HTTP interface tells of it, as JSON, without what depends on who asks.
    summary: str

    @property
    def title(self) -> str:
        """What people call it: its name, behind its host's where another host has that name too."""
        return str(json.loads(self.summary or "{}").get("title") or self.name)

    @property
    def place(self) -> tuple[str, str]:
        """Where it stands in lists: by name, then host."""
        return self.name, self.host


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class HostEntry:
    """One host as its owner saw it last."""

    host_id: str
    name: str
    uri: str
    #: The name of the server that wrote it down.
    server: str
    #: Its facts as JSON, as the HTTP interface tells them; empty before it has answered once.
    facts: str = ""
    #: Why it does not answer, in a sentence; empty where it does.
    reason: str = ""
    #: When it answered last; ``None`` before it has.
    seen_at: dt.datetime | None = None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Which machines are asked for: those for which all that is said holds."""

    #: On this host, by its name.
    host: str | None = None
    state: MachineState | None = None
    #: With this in their name, whatever the case of its letters.
    text: str | None = None
    #: On none of these hosts, by their ids.
    but_hosts: Collection[str] = ()


EVERY_MACHINE = Wanted()


class Directory(Protocol):
    """The machines and hosts of all servers. Each row is written by the owner of its host alone."""

    async def page(
        self, wanted: Wanted = EVERY_MACHINE, *, after: tuple[str, str] | None = None, limit: int
    ) -> Sequence[MachineEntry]:
        """Machines by name and host, letters by their code points, from behind the place ``after``."""

    async def find(self, name: str) -> Sequence[MachineEntry]:
        """The machines of this name, whatever the case of its letters."""

    async def with_uuid(self, uuid: str) -> Sequence[MachineEntry]:
        """The machines with this UUID: several where one was migrated a moment ago, or is defined twice."""

    async def namesakes(self, hosts: Collection[str], new: Collection[Place] = ()) -> Sequence[Place]:
        """Machines of other hosts with the name, or the UUID, of one on these; hosts by their ids.

        ``new`` are machines on these that may not be written down yet.
        """

    async def of_shared_names(self) -> Sequence[MachineEntry]:
        """The machines whose names others have too, whatever the case of the letters."""

    async def of_host(self, host_id: str) -> Sequence[MachineEntry]:
        """The machines of one host."""

    async def hosts(self) -> Sequence[HostEntry]:
        """All hosts, by name."""

    async def update(self, changed: Collection[MachineEntry], gone: Collection[str]) -> None:
        """Write down what has changed, and forget machines by their keys, in one transaction."""

    async def put_hosts(self, hosts: Collection[HostEntry]) -> None:
        """Write down hosts."""
