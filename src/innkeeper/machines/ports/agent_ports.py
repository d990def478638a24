"""Port for the virtio-serial ports of the task agents."""

from __future__ import annotations

from typing import Protocol

from innkeeper.wire.byte_pipe import BytePipe


class AgentPorts(Protocol):
    """The virtio-serial ports through which one host reaches the task agents in its guests."""

    async def attach(self, name: str) -> None:
        """Add the task agent's port to a machine, live where it runs. Does nothing where it has one."""

    async def open(self, name: str) -> BytePipe:
        """Open the host's end of the task agent's port. Raises ``AgentError`` where there is none."""
