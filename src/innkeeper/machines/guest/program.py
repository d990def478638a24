"""Check that a guest can be asked, and build the documented refusals."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from innkeeper.errors import AgentError, ErrorCode, WrongState
from innkeeper.machines.machine import Machine, MachineState

T = TypeVar("T")


def expect_guest(machine: Machine) -> None:
    """Raises ``WrongState`` for a machine whose guest cannot answer, as documented for each state."""
    if machine.state is MachineState.RUNNING:
        return
    paused = machine.state is MachineState.PAUSED
    raise WrongState.of(
        machine.title,
        machine.state,
        "ask its guest",
        code=ErrorCode.VM_E_VM_PAUSED if paused else ErrorCode.VM_E_VM_NOT_RUNNING,
        advice=f"Run: innkeeper machine {'resume' if paused else 'start'} {machine.title}",
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
