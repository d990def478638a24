"""Port that starts, pauses and stops a host's machines."""

from __future__ import annotations

from typing import Protocol

from innkeeper.machines.ports.progress import OnProgress
from innkeeper.wire.commands import Command


class Lifecycle(Protocol):
    """Starts, pauses, resets and stops the machines of one host."""

    async def start(self, name: str, *, paused: bool = False, on_progress: OnProgress | None = None) -> str:
        """Boot a machine, or restore its saved state. Does nothing where it runs already.

        Returns what a person should know of this start, as that KVM failed and it runs in software; mostly
        nothing.
        """

    async def pause(self, name: str) -> None:
        """Stop the machine's processors. Does nothing where they are stopped."""

    async def resume(self, name: str) -> None:
        """Start the machine's processors again. Does nothing where they run."""

    async def shut_down(self, name: str) -> None:
        """Ask the guest to power off; returns at once. The state changes when it has."""

    async def reboot(self, name: str) -> None:
        """Ask the guest to reboot; returns at once."""

    async def act(self, name: str, command: Command) -> None:
        """Carry out a command that is over at once, such as a reset. The machine is on."""

    async def turn_off(self, name: str) -> None:
        """Cut the machine's power. Does nothing where it is off; a saved state stays."""
