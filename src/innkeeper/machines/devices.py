"""Find the machine whose devices are to be changed, in a state that allows it."""

from __future__ import annotations

from innkeeper.errors import ErrorCode, MachineError, WrongState
from innkeeper.machines.configuration import Configuration
from innkeeper.machines.machine import Machine, MachineState
from innkeeper.machines.ports.host import Host
from innkeeper.machines.service import Machines
from innkeeper.machines.settings import refuse_active

_RUNNING = frozenset({MachineState.RUNNING, MachineState.PAUSED})


class Devices:
    """One kind of device of all machines. What is refused is refused before anything is touched."""

    def __init__(self, machines: Machines) -> None:
        self.machines = machines

    async def any(self, name: str) -> tuple[Machine, Host, Configuration]:
        """A machine, its host and its configuration, in any state."""
        described = await self.machines.describe(name)
        return described.machine, self.machines.hosts[described.machine.host], described.configuration

    async def not_busy(self, name: str) -> tuple[Machine, Host, Configuration]:
        found = await self.any(name)
        await self.machines.refuse_busy(found[0])
        return found

    async def off(self, name: str, command: str) -> tuple[Machine, Host, Configuration]:
        """Raises ``WrongState`` (VM_E_VM_RUNNING_OR_SAVED) where it is not off."""
        machine, host, made = await self.any(name)
        refuse_active(machine, command, ErrorCode.VM_E_VM_RUNNING_OR_SAVED)
        await self.machines.refuse_busy(machine)
        return machine, host, made

    async def up(self, name: str, command: str) -> tuple[Machine, Host]:
        machine = await self.machines.get(name)
        if machine.state not in _RUNNING:
            raise WrongState.of(
                machine.title,
                machine.state,
                command,
                code=ErrorCode.VM_E_VM_NOT_RUNNING,
                advice="That is possible when it runs.",
            )
        return machine, self.machines.hosts[machine.host]


def full(machine: Machine, count: int, what: str) -> MachineError:
    """The refusal of one device more than fits."""
    return MachineError(
        f"{machine.title} has {count} {what}, and no more fit.",
        machine=machine.title,
        code=ErrorCode.VM_E_PREF_ILLEGAL_VALUE,
        advice="Take one out first.",
    )
