"""Go on with a good update though somebody stops, starts or resets its machine meanwhile.

What counts is whether its guest is well: a machine that was stopped once is started again, to be looked at.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from innkeeper.errors import ErrorCode
from innkeeper.machines.machine import OFF
from innkeeper.tasks.task import LogLevel
from innkeeper.updates.foreign_saves import KEPT_MEMORY, is_saved_on_undo_disks
from innkeeper.updates.outcome import Stop
from innkeeper.updates.phase import Run

T = TypeVar("T")

#: Whoever has stopped a machine may be about to start it: so long that is left to them.
_PAUSE_SECONDS = 10.0


async def though_stopped(run: Run, look: Callable[[], Awaitable[T]]) -> T:
    """Look; where the machine is found stopped, start it and look once more.

    One whose kernel has crashed has stopped by its own fault, and one that stops again as well. One that was
    found saved or paused still has the memory of then, which a start would go on from, on other disks: unless
    somebody has saved it anew.
    """
    try:
        return await look()
    except Stop as stop:
        if stop.code is not ErrorCode.VM_E_VM_NOT_RUNNING or _has_crashed(run):
            raise
        if run.found in KEPT_MEMORY and not await is_saved_on_undo_disks(run):
            raise
    await _start_again(run)
    return await look()


def _has_crashed(run: Run) -> bool:
    return run.reboots.seen(run.order.of_machine, run.order.started_at).crashes > 0


async def _start_again(run: Run) -> None:
    """Start the machine where nobody else does: there are never two starts of one."""
    await run.clock.sleep(_PAUSE_SECONDS)
    if (await run.state()).state in OFF:
        run.task.log(f"{run.title} was stopped after its update, and is started again.", LogLevel.WARNING)
        async with run.boots.slot(run.hypervisor.name):
            await run.start()
    await run.agent(run.agent_seconds)
