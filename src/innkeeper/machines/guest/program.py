"""Speak with the programs in guests: the port, and the documented refusals."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from innkeeper.errors import AgentError, ErrorCode, WrongState
from innkeeper.machines.machine import Machine, MachineState
from innkeeper.wire.guest_facts import Ability, GuestFacts, GuestParameter, LogonSession

T = TypeVar("T")


class GuestProgram(Protocol):
    """A program in one guest that answers: the task agent, or qemu-guest-agent.

    Every call raises ``AgentError`` where no answer comes; ``VM_E_TIMED_OUT`` where it came too late.
    """

    def knows(self, ability: Ability) -> bool:
        """Whether it can do this."""

    async def version(self) -> str:
        """Its version."""

    async def boot_id(self) -> str:
        """What tells this boot from every other; empty where it cannot say."""

    async def ping(self) -> None:
        """Return when it has answered."""

    async def facts(self) -> GuestFacts:
        """What the guest is."""

    async def sessions(self) -> Sequence[LogonSession]:
        """Who is logged on."""

    async def log_off(self) -> int:
        """Log everybody off; returns how many sessions were told to end."""

    async def parameters(self) -> Mapping[str, GuestParameter]:
        """The named values that the guest keeps."""

    async def set_parameter(self, name: str, value: str | None, *, revision: int) -> None:
        """Keep a value; without one, forget the name."""

    async def set_time(self, seconds: float) -> None:
        """Set the guest's clock to so many seconds since 1970."""

    async def reboot(self) -> None:
        """Ask the guest to reboot; returns when it has agreed."""

    async def shut_down(self) -> None:
        """Ask the guest to power off; returns when it has agreed."""


class TaskAgents(Protocol):
    """The task agents of all running machines."""

    async def connected(self, machine: str, *, timeout: float) -> GuestProgram:
        """A live session. Raises ``AgentError`` where none came in ``timeout`` seconds."""

    def is_connected(self, machine: str) -> bool: ...


def expect_guest(machine: Machine) -> None:
    """Raises ``WrongState`` for a machine whose guest cannot answer, as documented for each state."""
    if machine.state is MachineState.RUNNING:
        return
    paused = machine.state is MachineState.PAUSED
    raise WrongState(
        f"{machine.name} is {machine.state.name.lower().replace('_', ' ')}: its guest cannot be asked.",
        machine=machine.name,
        state=machine.state.name,
        command="ask its guest",
        code=ErrorCode.VM_E_VM_PAUSED if paused else ErrorCode.VM_E_VM_NOT_RUNNING,
        advice=f"Run: innkeeper machine {'resume' if paused else 'start'} {machine.name}",
    )


def no_such_feature(machine: str, why: str, code: ErrorCode | None = None) -> AgentError:
    """The refusal of what no program in the guest can do."""
    return AgentError(
        f"The guest of {machine} cannot be asked that: {why}.",
        machine=machine,
        code=code or ErrorCode.VM_E_ADDITIONS_FEATURE_NOT_AVAIL,
        advice=f"Run 'innkeeper machine prepare {machine}' to install the newest task agent.",
    )


async def featured(machine: str, ask: Callable[[], Awaitable[T]]) -> T:
    """Ask, and say a silence in the documented way: the feature is not there, or it took too long."""
    try:
        return await ask()
    except AgentError as error:
        if error.code is ErrorCode.VM_E_ADDITIONS_NOT_AVAIL:
            error.code = ErrorCode.VM_E_ADDITIONS_FEATURE_NOT_AVAIL
        raise
