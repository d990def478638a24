"""Port for the hardware and settings of a host's machines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from innkeeper.machines.change import Change, Scope
from innkeeper.machines.configuration import Configuration
from innkeeper.machines.description import Follow, MachineDescription, follow_none


class Configurations(Protocol):
    """The hardware and settings of one host's machines. Each read and each change asks the host once."""

    async def read(self, name: str, *, running: bool = False) -> Configuration:
        """The configuration for the next start; with ``running``, the one in use where the machine is on."""

    async def read_all(self) -> Mapping[str, Configuration]:
        """The configuration for the next start of every machine, by name."""

    async def describe(
        self, name: str, *, running: bool = False, follow: Follow = follow_none
    ) -> MachineDescription:
        """A machine with its configuration, its files, and the backing chains of the images in ``follow``.

        Raises ``MachineNotFound``.
        """

    async def change(self, name: str, change: Change, scope: Scope = Scope.PERSISTENT) -> None:
        """Change the configuration. ``Scope.RUNNING`` and ``BOTH`` for what can change in a running machine:
        media, networks, notes, values, USB devices. Raises ``MachineError`` where a named device is missing.
        """

    async def set_autostart(self, name: str, autostart: bool) -> None:
        """Set whether the machine starts with its host."""
