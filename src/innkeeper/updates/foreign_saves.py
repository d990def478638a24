"""Memory that somebody has saved in the middle of an update: it goes with the undo disks alone.

A machine has one saved state. Of one that was found saved or paused it is the memory of before its update:
whoever saves the machine meanwhile (``virsh managedsave``) writes over that.
"""

from __future__ import annotations

from innkeeper.errors import WrongState
from innkeeper.machines.machine import MachineState
from innkeeper.tasks.task import LogLevel
from innkeeper.updates.phase import Run

#: Found like this, a machine has memory that was saved before the update.
KEPT_MEMORY = (MachineState.SAVED, MachineState.PAUSED)


async def is_saved_on_undo_disks(run: Run) -> bool:
    """Whether the machine's saved memory is of its guest on the undo disks."""
    try:
        known = {disk.path for disk in await run.hypervisor.saved_states.disks(run.machine)}
    except WrongState:
        return False
    return bool(known & set(run.undo.plan.overlays.values()))


async def forget_saved_on_undo_disks(run: Run) -> None:
    """Discard such memory before its disks go: it must not meet others."""
    if (await run.state()).state is not MachineState.SAVED or not await is_saved_on_undo_disks(run):
        return
    run.task.log(
        f"Somebody has saved {run.title} in the middle of its update: that memory is discarded with the "
        "undo disks.",
        LogLevel.WARNING,
    )
    await run.hypervisor.saved_states.discard(run.machine)


def memory_is_lost(run: Run) -> str:
    """What is told of a machine that was found with its memory, and has none to go back to."""
    return (
        f"{run.title} was found {run.found.words}, and its memory of before is gone: somebody has saved the "
        "machine anew in the middle of its update, or has discarded its saved state. It is left off; its "
        "disks are as they were, and it boots from them as after a power cut."
    )
