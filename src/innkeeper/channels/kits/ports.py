"""What kits need of a guest's qemu-guest-agent."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Protocol

from innkeeper.wire.guest_facts import GuestFacts


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class CommandEnd:
    """How a command ended in a guest, and what it printed."""

    exit_code: int
    stdout: bytes
    stderr: bytes


class GuestCommands(Protocol):
    """qemu-guest-agent in one machine's guest. Each call raises ``AgentError`` where it does not answer."""

    @property
    def has_agent_port(self) -> bool:
        """Whether the machine has a port for the task agent too."""

    async def allowed(self) -> Mapping[str, bool]:
        """The commands that it knows, and whether its configuration allows each."""

    async def facts(self) -> GuestFacts:
        """What the guest is; nothing is run in it for that."""

    async def ping(self) -> None:
        """Return when it has answered."""

    async def run(self, argv: Sequence[str], *, stdin: bytes, timeout: float) -> CommandEnd:
        """Run a command as root and wait for its end, at most ``timeout`` seconds."""

    async def write_file(self, path: str, data: bytes) -> None:
        """Write a file."""


#: Return the qemu-guest-agent of a machine by its key; ``None`` where it does not run, or has no port.
FindCommands = Callable[[str], Awaitable[GuestCommands | None]]
#: The keys of the machines that run now.
Running = Callable[[], Awaitable[Collection[str]]]
