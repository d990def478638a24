"""Named values that host and guest exchange (``IVMGuestOS::GetParameter`` and ``SetParameter``).

The guest's file is what its programs read and write; the host's journal is the truth of what the host has
set, so that a guest whose disk was rolled back is told again.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Protocol

import structlog

from innkeeper.errors import ErrorCode, InnkeeperError, InvalidArgument
from innkeeper.machines.guest.os import GuestOS
from innkeeper.machines.guest.program import featured
from innkeeper.machines.machine import Machine
from innkeeper.machines.ports.guest_program import GuestProgram
from innkeeper.machines.service import Machines
from innkeeper.tasks.ports import Clock
from innkeeper.wire.guest_facts import (
    MAX_PARAMETER_NAME,
    MAX_PARAMETER_VALUE,
    MAX_PARAMETERS,
    Ability,
    GuestParameter,
)
from innkeeper.wire.text import plain_text

_log = structlog.get_logger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class KeptParameter:
    """A named value as the host knows it."""

    name: str
    #: Nothing for one that the host has taken back: a guest that was rolled back may have it still.
    value: str | None
    #: Counts what the host has set under this name; 0 for one that only the guest has set.
    revision: int
    by_guest: bool
    at: dt.datetime


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class HostNames:
    """Names of this computer, alone and in its network."""

    name: str
    full_name: str


class ParameterStore(Protocol):
    """Stores the values of each machine on the host, by its UUID."""

    async def put(self, machine: str, kept: KeptParameter) -> bool:
        """Add it, or replace one of an earlier revision, or the guest\'s own; whether it stands."""

    async def list(self, machine: str) -> Sequence[KeptParameter]:
        """All of one machine, by name, also those taken back."""


class Parameters:
    """The named values of all machines."""

    def __init__(
        self,
        *,
        machines: Machines,
        guests: GuestOS,
        store: ParameterStore,
        clock: Clock,
        host: HostNames,
    ) -> None:
        self._machines = machines
        self._guests = guests
        self._store = store
        self._clock = clock
        self._host = host

    async def get(self, name: str, key: str) -> str:
        """The value that the guest has now (``GetParameter``).

        Raises ``InvalidArgument`` for a name that none may have, and with ``ERROR_FILE_NOT_FOUND`` for one
        that the guest does not know; ``WrongState`` and ``AgentError`` where it cannot be asked.
        """
        _expect_name(key)
        machine, program = await self._guests.program(name, Ability.PARAMETERS)
        known = await featured(machine.name, program.parameters)
        await self._take(machine, known)
        if key not in known:
            raise InvalidArgument(
                f"The guest of {machine.title} has no parameter “{key}”.",
                code=ErrorCode.ERROR_FILE_NOT_FOUND,
                advice=f"See all: innkeeper machine param list {machine.title}",
            )
        return known[key].value

    async def set(self, name: str, key: str, value: str | None) -> None:
        """Set a named value in the guest (``SetParameter``); ``None`` deletes it.

        It is kept before it is sent, and sent again after a roll back. Raises as ``get`` does, and
        ``InvalidArgument`` for a value over 4,096 characters.
        """
        _expect_name(key)
        _expect_value(value)
        machine, program = await self._guests.program(name, Ability.PARAMETERS)
        revision = await self._keep_next(machine, key, value)
        await featured(machine.name, lambda: program.set_parameter(key, value, revision=revision))

    async def list(self, name: str) -> Sequence[KeptParameter]:
        """The known values of the machine; read anew where its guest can be asked."""
        machine = await self._machines.get(name)
        try:
            _, program = await self._guests.program(name, Ability.PARAMETERS)
            await self._take(machine, await program.parameters())
        except InnkeeperError as error:
            _log.debug("parameters_not_asked", machine=machine.name, error=str(error))
        return [each for each in await self._store.list(machine.uuid) if each.value is not None]

    async def greet(self, machine: Machine, program: GuestProgram) -> None:
        """Send a guest that has just begun to answer its values: after a start, or a roll back."""
        known = await program.parameters()
        for key, value in self._documented(machine.name).items():
            if key not in known or known[key].value != value:
                await program.set_parameter(key, value, revision=0)
        for kept in await self._store.list(machine.uuid):
            revision = known[kept.name].revision if kept.name in known else 0
            is_there = kept.name in known or kept.value is None
            if kept.revision and (kept.revision > revision or not is_there):
                await program.set_parameter(kept.name, kept.value, revision=kept.revision)
        await self._take(machine, known)

    def _documented(self, machine: str) -> Mapping[str, str]:
        """The four values that every guest is given."""
        return {
            "HostName": self._host.name,
            "PhysicalHostName": self._host.name,
            "PhysicalHostNameFullyQualified": self._host.full_name,
            "VirtualMachineName": machine,
        }

    async def _take(self, machine: Machine, known: Mapping[str, GuestParameter]) -> None:
        """Store the values that the guest has set by itself."""
        kept = {each.name: each for each in await self._store.list(machine.uuid)}
        for key, message in known.items():
            before = kept.get(key)
            if not message.by_guest or key in self._documented(machine.name):
                continue
            if before is not None and (before.value == message.value or before.revision > message.revision):
                continue
            if before is None and len(kept) >= MAX_PARAMETERS:
                continue
            kept[key] = self._made(key, message.value, message.revision, by_guest=True)
            await self._store.put(machine.uuid, kept[key])

    async def _keep_next(self, machine: Machine, key: str, value: str | None) -> int:
        """Store a value under the revision after the last one, whoever made that; returns the revision."""
        while True:
            kept = {each.name: each for each in await self._store.list(machine.uuid)}
            if key not in kept and len(kept) >= MAX_PARAMETERS:
                raise InvalidArgument(
                    f"{machine.name} has {len(kept)} parameters already.",
                    advice="Take back what is not needed.",
                )
            revision = (kept[key].revision if key in kept else 0) + 1
            if await self._store.put(machine.uuid, self._made(key, value, revision, by_guest=False)):
                return revision

    def _made(self, key: str, value: str | None, revision: int, *, by_guest: bool) -> KeptParameter:
        return KeptParameter(
            name=key, value=value, revision=revision, by_guest=by_guest, at=self._clock.now()
        )


def _expect_name(key: str) -> None:
    if not 0 < len(key) <= MAX_PARAMETER_NAME or "\\" in key or not key.isprintable():
        raise InvalidArgument(
            f"“{key[:40]}” cannot name a parameter.",
            advice="A name has 1 to 255 printable characters, and no backslash.",
        )


def _expect_value(value: str | None) -> None:
    try:
        plain_text("" if value is None else value, MAX_PARAMETER_VALUE)
    except ValueError as exc:
        raise InvalidArgument(
            f"This value cannot be kept: {exc}.",
            advice=f"At most {MAX_PARAMETER_VALUE:,} characters are. Put more into a file of the guest's.",
        ) from None
