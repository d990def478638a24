"""qemu-guest-agent of the machines of all hosts, as the kits of guests without a task agent take it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from innkeeper.channels.kits.ports import CommandEnd, FindCommands
from innkeeper.machines.machine import Machine, MachineState
from innkeeper.machines.ports.guest_agents import QemuGuestAgents
from innkeeper.machines.service import Machines
from innkeeper.wire.guest_facts import GuestFacts


class HostCommands:
    """qemu-guest-agent in one machine's guest (``channels.kits.ports.GuestCommands``)."""

    def __init__(self, machine: Machine, agents: QemuGuestAgents) -> None:
        self._machine = machine
        self._agents = agents

    @property
    def has_agent_port(self) -> bool:
        """Whether the machine has a port for the task agent too."""
        return self._machine.has_agent_port

    async def allowed(self) -> Mapping[str, bool]:
        """The commands that it knows, and whether its configuration allows each."""
        return await self._agents.commands(self._machine.name)

    async def facts(self) -> GuestFacts:
        """What the guest is."""
        return await self._agents.program(self._machine.name).facts()

    async def ping(self) -> None:
        """Return when it has answered."""
        await self._agents.program(self._machine.name).ping()

    async def run(self, argv: Sequence[str], *, stdin: bytes, timeout: float) -> CommandEnd:
        """Run a command as root and wait for its end."""
        done = await self._agents.run(self._machine.name, argv, timeout=timeout, stdin=stdin)
        return CommandEnd(exit_code=done.exit_code, stdout=done.stdout, stderr=done.stderr)

    async def write_file(self, path: str, data: bytes) -> None:
        """Write a file."""
        await self._agents.write_file(self._machine.name, path, data)


def commands_of(machines: Machines) -> FindCommands:
    """Return what finds a machine's qemu-guest-agent by its key."""

    async def find(key: str) -> HostCommands | None:
        machine = await machines.get(key)
        if machine.state is not MachineState.RUNNING or not machine.has_guest_agent_port:
            return None
        return HostCommands(machine, machines.hosts[machine.host].guest_agents)

    return find
