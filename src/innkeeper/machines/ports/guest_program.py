"""Ports for the programs in guests that answer questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from innkeeper.wire.guest_facts import Ability, GuestFacts, GuestParameter, LogonSession


class GuestProgram(Protocol):
    """A program in one guest that answers: the task agent, or qemu-guest-agent.

    Every call raises ``AgentError`` where no answer comes; ``VM_E_TIMED_OUT`` where it came too late.
    """

    def knows(self, ability: Ability) -> bool:
        """Whether the program has this ability."""

    async def version(self) -> str:
        """The program's name and version."""

    async def boot_id(self) -> str:
        """An identifier of this boot of the guest; empty where the program has none."""

    async def ping(self) -> None:
        """Wait for an answer of the program."""

    async def facts(self) -> GuestFacts:
        """Facts of the guest: system, version, names, addresses."""

    async def sessions(self) -> Sequence[LogonSession]:
        """The users who are logged on."""

    async def log_off(self) -> int:
        """Log everybody off; returns how many sessions were told to end."""

    async def parameters(self) -> Mapping[str, GuestParameter]:
        """The named values that the guest keeps."""

    async def set_parameter(self, name: str, value: str | None, *, revision: int) -> None:
        """Set a named value in the guest; ``None`` deletes it."""

    async def set_time(self, seconds: float) -> None:
        """Set the guest's clock to so many seconds since 1970."""

    async def reboot(self) -> None:
        """Ask the guest to reboot; returns when it has agreed."""

    async def shut_down(self) -> None:
        """Ask the guest to power off; returns when it has agreed."""


class TaskAgents(Protocol):
    """The task agents of all running machines."""

    async def connected(self, machine: str, *, timeout: float) -> GuestProgram:
        """A live session. Raises ``AgentError`` where none came in ``timeout`` seconds."""

    def is_connected(self, machine: str) -> bool:
        """Whether the machine's task agent is connected now."""
