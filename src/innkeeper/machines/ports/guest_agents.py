"""Port for qemu-guest-agent in a host's guests."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

from innkeeper.machines.ports.guest_program import GuestProgram


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ExecResult:
    """Exit code and output of a command that ran in a guest."""

    exit_code: int
    stdout: bytes
    stderr: bytes


class QemuGuestAgents(Protocol):
    """qemu-guest-agent in the guests of one host. Each call raises ``AgentError`` where none answers.

    Where nothing came back that is ``AgentSilent``: what was asked for may still happen.
    """

    async def freeze(self, name: str, *, hook_seconds: float = 30.0) -> int:
        """Freeze the guest's file systems, whose hooks may take so long; returns how many.

        ``AgentSilent``: it has not answered in time, and may freeze them whenever its hooks end.
        """

    async def thaw(self, name: str) -> int:
        """Thaw the guest's file systems; returns how many. Does nothing where none is frozen."""

    async def is_frozen(self, name: str) -> bool:
        """Whether the guest's file systems are frozen, or some of them. Not answered while a hook runs."""

    async def commands(self, name: str) -> Mapping[str, bool]:
        """The commands that it knows, and whether its configuration allows each."""

    async def run(self, name: str, argv: Sequence[str], *, timeout: float, stdin: bytes = b"") -> ExecResult:
        """Run a command in the guest and wait for its end, at most ``timeout`` seconds."""

    async def write_file(self, name: str, path: str, data: bytes) -> None:
        """Write a file in the guest."""

    def program(self, name: str) -> GuestProgram:
        """The guest's qemu-guest-agent, with the questions that the task agent answers too."""
