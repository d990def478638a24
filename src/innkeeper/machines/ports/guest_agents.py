"""Port for qemu-guest-agent in a host's guests."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

from innkeeper.machines.ports.guest_program import GuestProgram


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ExecResult:
    """Exit code and output of a command that ran in a guest."""

    exit_code: int
    stdout: bytes
    stderr: bytes


class QemuGuestAgents(Protocol):
    """qemu-guest-agent in the guests of one host. Each call raises ``AgentError`` where none answers."""

    async def freeze(self, name: str) -> int:
        """Freeze the guest's file systems; returns how many."""

    async def thaw(self, name: str) -> int:
        """Thaw the guest's file systems; returns how many. Does nothing where none is frozen."""

    async def run(self, name: str, argv: Sequence[str], *, timeout: float) -> ExecResult:
        """Run a command in the guest and wait for its end, at most ``timeout`` seconds."""

    async def write_file(self, name: str, path: str, data: bytes) -> None:
        """Write a file in the guest."""

    def program(self, name: str) -> GuestProgram:
        """The guest's qemu-guest-agent, with the questions that the task agent answers too."""
