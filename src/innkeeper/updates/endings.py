"""The endings of an update run: keep what it did, or put everything back; each a table of phases."""

from __future__ import annotations

import asyncio

from innkeeper.channels.ports import UpdateStatus
from innkeeper.errors import AgentError, ErrorCode, HypervisorError, WrongState
from innkeeper.machines.machine import OFF, MachineState
from innkeeper.machines.undo.backups import Mended
from innkeeper.machines.undo.merge_marks import forget_merge
from innkeeper.tasks.task import LogLevel
from innkeeper.updates import backups
from innkeeper.updates.booking import MERGE, DiskChecksum
from innkeeper.updates.console import panics, why_not_up
from innkeeper.updates.console_of import console_of
from innkeeper.updates.facts.ending import BroughtBack, Left, Merged, Standing, Tidied, Verified
from innkeeper.updates.facts.guest import Begun, Greeted, Printed
from innkeeper.updates.facts.machine import Admitted
from innkeeper.updates.foreign_saves import (
    KEPT_MEMORY,
    forget_saved_on_undo_disks,
    memory_is_lost,
)
from innkeeper.updates.jobs import has_none_to_start, start_jobs
from innkeeper.updates.memory_phases import bring_back, delete_memory, go_on, set_clock
from innkeeper.updates.outcome import Cause, Stop
from innkeeper.updates.phase import Phase, Run
from innkeeper.updates.phases import refuse_bases
from innkeeper.updates.policy import UndoPointPolicy
from innkeeper.updates.powering_off import turn_off_what_reboots

#: So often somebody may start a machine between the stop and its own firmware variables, in a row.
_STARTS = 20

#: Whatever the guest has written is in its disks then, or in the QEMU that writes it.
_MERGED_AS_THEY_ARE = (MachineState.RUNNING, MachineState.PAUSED, MachineState.TURNED_OFF)

# Keep


async def forget_memory(run: Run) -> None:
    """Discard saved state or memory, before the first merged byte: they do not go with updated disks."""
    if run.found in KEPT_MEMORY:
        await run.hypervisor.saved_states.discard(run.machine)
    await delete_memory(run)


async def merge(run: Run) -> Merged:
    """Write the undo disks into their bases; begun is as good as done."""
    probation = backups.Probation(run)
    await backups.between_merging(run, lambda: run.undo.merge(run.on_progress), probation)
    return Merged(held_by=probation.held_by, merged_at=run.clock.now())


async def delete_overlays(run: Run) -> Tidied:
    """Delete the overlay files, which nothing names any more."""
    mended = await backups.mend(run)
    await run.undo.delete_files()
    await forget_merge(run.hypervisor, run.machine, [*run.undo.plan.overlays.values()])
    return Tidied(backups=mended)


async def restore_after_keep(run: Run) -> Left:
    """Bring the updated machine to the state that it was found in."""
    state = (await run.state()).state
    if run.found is not MachineState.TURNED_OFF and state is MachineState.TURNED_OFF:
        # QEMU died on the way; the update is in, so the machine boots into it first.
        await _start_again(run)
        state = MachineState.RUNNING
    remark = await turn_off_what_reboots(run)
    if run.found is MachineState.SAVED and state in (MachineState.RUNNING, MachineState.PAUSED):
        await run.hypervisor.saved_states.save(run.machine, run.on_progress)
    if run.found is MachineState.PAUSED and state is MachineState.RUNNING:
        await run.hypervisor.lifecycle.pause(run.machine)
    if run.found is MachineState.RUNNING and state is MachineState.PAUSED:
        await run.hypervisor.lifecycle.resume(run.machine)
    return await _left(run, remark)


# Before anything is undone


async def read_console(run: Run) -> Printed:
    """Read what the guest's console has said in this night; its log may begin anew with the next start."""
    text = await console_of(run)
    # A hostile guest can print what takes a second to read.
    lines, panicked = await asyncio.gather(
        asyncio.to_thread(why_not_up, text), asyncio.to_thread(panics, text)
    )
    return Printed(lines=lines, panics=panicked)


async def look_back(run: Run) -> Begun:
    """Ask a guest that never told the end of its update whether it has begun it.

    One that does not answer may have, and so has one that has told of it and knows nothing of it now.
    """
    booking = await run.bookings.find(run.order.of_machine, run.order.identifier)
    if booking.status is not UpdateStatus.UNKNOWN:
        rebooting = booking.status in (UpdateStatus.REBOOTING, UpdateStatus.REBOOTED)
        return Begun(has_begun=True, was_rebooting=rebooting)
    try:
        task = await run.ask(
            lambda agent: agent.task(run.order.identifier), seconds=run.policy.answer_seconds
        )
        # A former attempt may have left one that changed nothing.
        return Begun(has_begun=task is not None and not task.unchanged)
    except (AgentError, Stop):
        return Begun(has_begun=True)


# Nothing was changed


async def stand(run: Run) -> Standing:
    """Look whether a machine that ran before stands on its undo disks, which hold what it wrote since.

    They are merged as it is now: it may have been paused or stopped meanwhile, by whomever. Raises ``Stop``
    where they cannot be: somebody has written to the bases.
    """
    is_whole = (await run.state()).state in _MERGED_AS_THEY_ARE
    if not (is_whole and run.found is MachineState.RUNNING and await run.undo.is_taken()):
        return Standing(on_overlays=False)
    await refuse_bases(run)
    return Standing(on_overlays=True)


async def let_go(run: Run) -> None:
    """Power off a guest that was woken for nothing; where it does not go, its plug is pulled."""
    if run.found is MachineState.TURNED_OFF and run.known(Greeted) is not None:
        if (await run.state()).state is MachineState.RUNNING:
            await run.hypervisor.lifecycle.shut_down(run.machine)
        await run.wait_for(MachineState.TURNED_OFF, run.shut_down_seconds)


# Roll back


async def turn_off(run: Run) -> None:
    """Pull the plug of a machine that stands on its undo disks: nothing it still writes is wanted.

    One without a disk was woken for the run, or stays as it is: there is nothing to bring it back to.
    """
    if run.plan is None:
        return
    was_woken = run.is_protected and run.found is not MachineState.RUNNING
    if await run.undo.is_taken() or (not run.plan.disks and was_woken):
        await backups.warn(run)
        # Before it stops being ours: what starts machines that have stopped starts it on its own disks.
        await run.undo.stand_down()
        await run.hypervisor.lifecycle.turn_off(run.machine)
        if await run.undo.is_taken():
            raise HypervisorError(
                f"Somebody has started {run.title} on its undo disks as soon as it was off.",
                code=ErrorCode.ERROR_BUSY,
                advice="Stop whatever starts machines by itself on this host.",
            )


async def discard(run: Run) -> None:
    """Put the machine back onto its bases."""
    if run.plan is None:
        return
    if not (run.is_protected or await run.undo.is_named() or await run.undo.is_held()):
        return
    await forget_saved_on_undo_disks(run)
    starts = 0
    while True:
        try:
            await run.undo.drop()
        except WrongState:
            starts += 1
            if starts > _STARTS:
                raise
            run.task.log(f"Somebody has started {run.title}; it is turned off again.", LogLevel.WARNING)
            await run.hypervisor.lifecycle.turn_off(run.machine)
        else:
            return


async def verify(run: Run) -> Verified:
    """Look that the bases are what they were, by identity and by content."""
    if run.bases and (await run.state()).state not in OFF:
        run.task.log(
            f"Somebody has started {run.title} on its own disks as soon as it was off: they are written to, "
            "and were not compared with what they were.",
            LogLevel.WARNING,
        )
        return Verified(checksums=())
    changed = await run.undo.changed_bases(run.bases) if run.bases else ()
    after = await run.undo.checksums(run.bases, run.on_progress) if run.bases else {}
    other = [base.path for base in run.bases if base.checksum and after[base.path] != base.checksum]
    if changed or other:
        raise Stop(
            Cause.FAILED,
            f"{', '.join(sorted({*changed, *other}))} is not what it was before the update.",
            code=ErrorCode.VM_E_PARENT_MODIFIED,
            advice="Find out what wrote to the disk. The files of the undo point are left in place. To "
            f"delete them: innkeeper machine undo {run.title} --discard",
        )
    return Verified(
        checksums=tuple(
            DiskChecksum(path=base.path, before=base.checksum, after=after.get(base.path, ""))
            for base in run.bases
        )
    )


async def delete_leftovers(run: Run) -> Tidied | None:
    """Delete the overlays, and the copies of UEFI variables and TPM state."""
    if run.plan is None:
        return None
    mended = await backups.mend(run, is_rolled_back=True) if run.is_protected else Mended()
    await run.undo.delete_files()
    return Tidied(backups=mended)


async def restore_after_roll_back(run: Run) -> Left:
    """Bring the machine to the state that it was found in, as it was."""
    if run.plan is not None:
        await run.undo.release()
    await _let_power_off_end(run)
    state = (await run.state()).state
    if run.found is MachineState.RUNNING and state is MachineState.PAUSED:
        # A crash came in the moment for which the undo point holds it still, and the run went no further.
        await run.hypervisor.lifecycle.resume(run.machine)
    elif run.found is MachineState.RUNNING and state is not MachineState.RUNNING:
        await _start_again(run)
    if run.found in KEPT_MEMORY and state is MachineState.TURNED_OFF:
        run.task.log(memory_is_lost(run), LogLevel.WARNING)
        return Left(state=state, remark=memory_is_lost(run))
    if run.found is MachineState.PAUSED and state is MachineState.SAVED:
        await run.start(paused=True)
    return await _left(run)


async def _let_power_off_end(run: Run) -> None:
    """Wait for a power-off that was asked for: the guest would go down after it was left running."""
    asked = run.found is MachineState.RUNNING and run.undo_point_policy is UndoPointPolicy.OFF
    if asked and "settle" in run.outcomes:
        await run.wait_for(MachineState.TURNED_OFF, run.shut_down_seconds)


# What both share


async def _start_again(run: Run) -> None:
    """Start a machine that was found running, and see that its agent is back if it was there before."""
    async with run.boots.slot(run.hypervisor.name):
        await run.start()
        if not run.had_agent:
            return
        try:
            await run.agent(run.agent_seconds)
        except (AgentError, Stop) as error:
            # The disks are as they should be; what keeps the guest now is not the update.
            run.task.log(f"It runs again, but its agent does not answer: {error}", LogLevel.WARNING)


async def _left(run: Run, remark: str = "") -> Left:
    state = (await run.state()).state
    if remark and state is MachineState.RUNNING:
        return Left(state=state, remark=remark)
    if state is MachineState.RUNNING and run.found is not MachineState.RUNNING:
        # Nothing here has started it, or it was brought to rest just before: it is what somebody wants.
        run.task.log(
            f"{run.title} was found {run.found.words}, and somebody has started it.", LogLevel.WARNING
        )
        return Left(state=state)
    if state is not run.found:
        raise HypervisorError(
            f"{run.title} was found {run.found.words}, and is {state.words} now.",
            code=ErrorCode.E_UNEXPECTED,
            advice="See QEMU's log on the host.",
        )
    return Left(state=state, remark=remark)


KEEP: tuple[Phase, ...] = (
    Phase(
        name="forget saved state",
        title="Discarding the old saved state",
        work=forget_memory,
        is_idle=lambda run: run.found not in KEPT_MEMORY and run.memory is None,
    ),
    Phase(
        name="jobs",
        title="Starting disturbed jobs again",
        work=start_jobs,
        is_idle=has_none_to_start,
        is_newer=True,
    ),
    Phase(name=MERGE, title="Merging the undo disks", work=merge, finds=Merged),
    Phase(name="tidy", title="Deleting the merged undo disks", work=delete_overlays, finds=Tidied),
    Phase(name="restore", title="Restoring the former state", work=restore_after_keep, finds=Left),
)

_TO_DISKS: tuple[Phase, ...] = (
    Phase(name="turn off", title="Turning the machine off", work=turn_off),
    Phase(name="discard", title="Discarding the undo disks", work=discard),
    Phase(name="verify", title="Verifying the disks", work=verify, finds=Verified),
    Phase(
        name="tidy after discard",
        title="Deleting the discarded undo disks",
        work=delete_leftovers,
        finds=Tidied,
    ),
)
_AS_FOUND = Phase(
    name="restore as found", title="Restoring the former state", work=restore_after_roll_back, finds=Left
)

#: What a guest says that does not come up.
CONSOLE = Phase(
    name="console",
    title="Reading the guest's console",
    work=read_console,
    finds=Printed,
    is_idle=lambda run: run.known(Admitted) is None or run.fact(Admitted).console_bytes is None,
)
#: An update of which no end was told: where it was not even begun, nothing is rolled back.
LOOK_BACK = Phase(name="look back", title="Asking what was begun", work=look_back, finds=Begun)
#: A machine whose guest nothing has changed: either ``KEEP`` or ``DROP`` follows.
STAND = Phase(name="stand", title="Checking the disks", work=stand, finds=Standing)
#: Nothing was changed, and nothing runs on the undo disks that has to go on.
DROP: tuple[Phase, ...] = (
    Phase(
        name="let go",
        title="Powering off",
        work=let_go,
        is_idle=lambda run: run.found is not MachineState.TURNED_OFF,
    ),
    *_TO_DISKS,
    _AS_FOUND,
)

ROLL_BACK: tuple[Phase, ...] = (*_TO_DISKS, _AS_FOUND)

#: The same where memory was kept. Once ``go on`` has begun, the memory is not gone back to again.
ROLL_BACK_TO_MEMORY: tuple[Phase, ...] = (
    *_TO_DISKS,
    Phase(name="memory", title="Bringing the memory back", work=bring_back, finds=BroughtBack),
    Phase(name="go on", title="Going on from the running moment", work=go_on),
    Phase(name="clock", title="Setting the guest's clock", work=set_clock),
    _AS_FOUND,
)
