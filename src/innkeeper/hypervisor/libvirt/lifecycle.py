"""Starts, pauses and stops of a libvirt host's machines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import libvirt

from innkeeper.hypervisor.libvirt.connection import Connection
from innkeeper.hypervisor.libvirt.domains import Domains
from innkeeper.hypervisor.libvirt.saved_states import LibvirtSavedStates
from innkeeper.machines.machine import MachineState
from innkeeper.machines.ports.progress import OnProgress
from innkeeper.wire.commands import Command

T = TypeVar("T")

_OFF = frozenset({MachineState.TURNED_OFF, MachineState.SAVED})
_UP = frozenset({MachineState.RUNNING, MachineState.PAUSED})
_LIVE = _UP | {MachineState.TURNING_ON, MachineState.RESTORING, MachineState.TURNING_OFF, MachineState.SAVING}

#: The commands that are one call of libvirt.
_ACTS: Mapping[Command, Callable[[libvirt.virDomain], object]] = {
    Command.RESET: lambda domain: domain.reset(0),
    Command.INJECT_NMI: lambda domain: domain.injectNMI(0),
}


class LibvirtLifecycle:
    """Starts and stops the machines of one host (``machines.ports.lifecycle.Lifecycle``)."""

    def __init__(self, connection: Connection, domains: Domains, saved_states: LibvirtSavedStates) -> None:
        self._connection = connection
        self._domains = domains
        self._saved_states = saved_states

    async def start(self, name: str, *, paused: bool = False, on_progress: OnProgress | None = None) -> str:
        """Boot a machine, or restore its saved state. Does nothing where it runs already."""
        return await self._saved_states.start(name, paused=paused, on_progress=on_progress)

    async def pause(self, name: str) -> None:
        """Stop the machine's processors. Does nothing where they are stopped."""
        await self._between(MachineState.RUNNING, MachineState.PAUSED, name, "pause", lambda d: d.suspend())

    async def resume(self, name: str) -> None:
        """Start the machine's processors again. Does nothing where they run."""
        await self._between(MachineState.PAUSED, MachineState.RUNNING, name, "resume", lambda d: d.resume())

    async def shut_down(self, name: str) -> None:
        """Ask the guest to power off: through its agent where that answers, else by the power button."""

        def work(domain: libvirt.virDomain) -> None:
            if self._domains.require(domain, _LIVE | _OFF, "shut down") not in _OFF:
                domain.shutdown()

        await self._command(name, "shut down", work)

    async def reboot(self, name: str) -> None:
        """Ask the guest to reboot."""

        def work(domain: libvirt.virDomain) -> None:
            self._domains.require(domain, frozenset({MachineState.RUNNING}), "reboot")
            domain.reboot(0)

        await self._command(name, "reboot", work)

    async def act(self, name: str, command: Command) -> None:
        """Run a command that is one call of libvirt."""

        def work(domain: libvirt.virDomain) -> None:
            self._domains.require(domain, _UP, command.words)
            _ACTS[command](domain)

        await self._command(name, command.words, work)

    async def turn_off(self, name: str) -> None:
        """Cut the machine's power. Does nothing where it is off; a saved state stays."""

        def work(domain: libvirt.virDomain) -> None:
            try:
                if domain.isActive():
                    domain.destroy()
            except libvirt.libvirtError:
                # It may have ended by itself between the look and the call.
                if domain.isActive():
                    raise

        await self._command(name, "turn off", work, again=True)

    # Machinery

    async def _command(
        self, name: str, doing: str, work: Callable[[libvirt.virDomain], T], *, again: bool = False
    ) -> T:
        return await self._connection.command(
            lambda connect: work(connect.lookupByName(name)), doing, name, again=again
        )

    async def _between(
        self,
        before: MachineState,
        after: MachineState,
        name: str,
        doing: str,
        act: Callable[[libvirt.virDomain], object],
    ) -> None:
        def work(domain: libvirt.virDomain) -> None:
            if self._domains.require(domain, frozenset({before, after}), doing) is before:
                act(domain)

        await self._command(name, doing, work, again=True)
