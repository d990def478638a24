"""Port for the persistent definitions of a host's machines."""

from __future__ import annotations

from typing import Protocol

from innkeeper.machines.machine import Machine
from innkeeper.machines.new_machine import NewMachine


class Definitions(Protocol):
    """The persistent definitions (libvirt XML) of one host's machines."""

    async def read(self, name: str) -> str:
        """The persistent definition (libvirt XML)."""

    async def path(self, name: str) -> str:
        """The file of the definition; empty where that lies on another computer, or nowhere."""

    async def define(self, definition: str) -> Machine:
        """Make or change a machine's persistent definition."""

    async def define_new(self, wanted: NewMachine) -> Machine:
        """Define a new machine with the host's best defaults. An existing one of this name stays as it is."""

    async def rename(self, name: str, new_name: str) -> None:
        """Rename a machine that is off. Does nothing where it was renamed already."""

    async def undefine(self, name: str) -> None:
        """Delete the definition of a machine that is off, its saved state and NVRAM; its disks stay."""

    async def release(self, name: str, saved_state: str) -> None:
        """Delete the definition of a machine that is off or saved, and nothing else.

        Its NVRAM stays, and its saved state is moved to the path ``saved_state``. Does nothing where
        the machine is gone.
        """

    async def take_in(self, definition: str, saved_state: str) -> Machine:
        """Define a released machine again, with the saved state at this path where there is one."""
