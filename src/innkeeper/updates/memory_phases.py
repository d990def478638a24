"""Phases of an update run that have to do with a running machine's memory: kept, and gone back to."""

from __future__ import annotations

from innkeeper.errors import InnkeeperError, MachineError
from innkeeper.machines.machine import Machine, MachineState
from innkeeper.machines.undo.memory import MemoryPlan, MemoryPoint, WithoutMemory, plan_memory
from innkeeper.machines.undo.point import UndoPlan
from innkeeper.tasks.task import LogLevel
from innkeeper.updates import clocks
from innkeeper.updates.facts.ending import BroughtBack
from innkeeper.updates.facts.machine import Admitted, Protected
from innkeeper.updates.outcome import Cause, Stop
from innkeeper.updates.phase import Run


async def memory_of(run: Run, machine: Machine, plan: UndoPlan) -> tuple[MemoryPlan | None, str]:
    """How the machine's memory will be kept, or why not. Raises ``Stop`` where it is left alone then."""
    rules = run.policy.memory
    try:
        memory = await plan_memory(run.hypervisor, machine, plan, run.task.id, rules, run.policy.undo)
    except MachineError as error:
        if rules.otherwise is WithoutMemory.REFUSE:
            raise Stop.by(error, Cause.UNFIT) from error
        run.task.log(f"A roll back will boot the machine: {error.sentence}", LogLevel.WARNING)
        return None, error.sentence
    run.task.log(memory.words)
    return memory, ""


async def keep_memory(run: Run, memory: MemoryPoint) -> tuple[Protected | None, str]:
    """Take memory and disks at one moment; or say why not, with nothing taken, so that disks alone can be.

    Raises where the machine shall be left alone then.
    """
    try:
        consistency, record = await memory.take(run.undo, run.on_progress)
    except InnkeeperError as error:
        if run.policy.memory.otherwise is WithoutMemory.REFUSE or await run.undo.is_taken():
            raise
        run.task.log(f"A roll back will boot the machine: {error.sentence}", LogLevel.WARNING)
        return None, error.sentence
    if record is None:
        why_not = "The machine went off before its memory was on the disk."
        run.task.log(f"A roll back will boot the machine: {why_not}", LogLevel.WARNING)
        return Protected(consistency=consistency, why_no_memory=why_not), ""
    run.task.log(f"The undo disks were created, with {record.words}.")
    return Protected(consistency=consistency, memory=record), ""


async def delete_memory(run: Run) -> None:
    """Delete the memory: it does not go with disks that have changed, and holds the guest's secrets."""
    if run.memory is not None:
        await run.memory.delete()


async def bring_back(run: Run) -> BroughtBack:
    """Give the machine its memory back, standing still; where it does not fit, its disks have to do.

    Done again after a crash: what stands still has not run, and is given its memory anew.
    """
    if not run.is_protected and (await run.state()).state is MachineState.RUNNING:
        return BroughtBack(why_not="Nothing was taken from it.")
    why_not = await _why_not(run) or await _restored(run)
    if why_not:
        run.task.log(f"The machine has to boot from its disks: {why_not}", LogLevel.WARNING)
    return BroughtBack(why_not=why_not)


async def go_on(run: Run) -> None:
    """Resume the machine at the moment of its undo point: decided before, and never done anew.

    From here on its disks are written to, so that its memory is worth nothing.
    """
    state = (await run.state()).state
    if not run.fact(BroughtBack).why_not:
        if state is MachineState.PAUSED:
            await run.hypervisor.lifecycle.resume(run.machine)
        elif state is not MachineState.RUNNING:
            run.task.log("It went off before it could go on, and boots from its disks.", LogLevel.WARNING)
    await delete_memory(run)


async def set_clock(run: Run) -> None:
    """Set the clock of a guest that has gone back, and see that its agent is there again."""
    if run.fact(BroughtBack).why_not or (await run.state()).state is not MachineState.RUNNING:
        return
    await clocks.set_clock(run, by_agent=run.had_agent)


async def _why_not(run: Run) -> str:
    """Why its memory may not be gone back to; empty where it may."""
    protected = run.known(Protected)
    record = None if protected is None else protected.memory
    if run.memory is None or record is None:
        return (protected.why_no_memory if protected else "") or "No memory was kept with its disks."
    changed = await run.undo.changed_bases(run.bases)
    if changed:
        return f"Something has written to {', '.join(changed)} since."
    return await run.memory.why_not(record)


async def _restored(run: Run) -> str:
    """Why the host does not take the memory; empty where the machine stands still with it."""
    if run.memory is None:
        raise Stop(Cause.FAILED, "There is no memory to go back to.")
    return await run.memory.restore(run.on_progress)


def undo_point_words(run: Run) -> str:
    """What the undo point held, and what a roll back came back to; empty where none was taken."""
    admitted, protected = run.known(Admitted), run.known(Protected)
    if admitted is None or protected is None:
        return ""
    why_not = admitted.why_no_memory or protected.why_no_memory
    held = f"Its disks alone. {why_not}".strip()
    if protected.memory is not None:
        held = f"Its disks, with {protected.memory.words}."
    back = run.known(BroughtBack)
    if back is None or not run.is_protected:
        return held
    if back.why_not:
        return held if why_not else f"{held} It had to boot: {back.why_not}"
    return f"{held} It went on from the running moment."
