"""Backups that others take of a machine in the middle of its update run."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from typing import TypeVar

from innkeeper.errors import ErrorCode
from innkeeper.machines.undo import backups
from innkeeper.machines.undo.backups import ANY_JOB, LOOK_SECONDS, NOT_MERGES, Mended
from innkeeper.tasks.task import LogLevel
from innkeeper.tasks.waiting import until
from innkeeper.updates.booking import ON_PROBATION
from innkeeper.updates.facts.machine import Settled
from innkeeper.updates.outcome import Cause, Stop
from innkeeper.updates.phase import Run

T = TypeVar("T")


async def wait(run: Run) -> None:
    """Wait for the end of a running backup. Raises ``Stop`` where it does not end in time."""

    async def nothing() -> None:
        return

    await between(run, nothing)


async def between(run: Run, act: Callable[[], Awaitable[T]]) -> T:
    """Act while no backup runs. Raises ``Stop`` where none ends in time, or somebody cancels."""

    def give_up() -> None:
        if run.task.cancel_requested and (stop := run.must_stop()) is not None:
            raise stop
        if run.clock.now() + dt.timedelta(seconds=LOOK_SECONDS) >= run.order.stop_at:
            raise _still_running(run)

    return await backups.between_backups(
        run.hypervisor, run.machine, run.clock, act, say=run.task.log, give_up=give_up, kinds=ANY_JOB
    )


async def let_end(run: Run) -> None:
    """Wait for the end of a backup that a power-off would cut off, while there is time for both."""
    margin = dt.timedelta(seconds=run.policy.shut_down_seconds + LOOK_SECONDS)

    async def has_ended() -> bool:
        return not await run.hypervisor.backups.jobs(run.machine) & NOT_MERGES

    seconds = (run.order.stop_at - margin - run.clock.now()).total_seconds()
    if not await has_ended():
        run.task.log(f"A backup of {run.title} is running: its end is waited for.")
        await until(run.clock, has_ended, every=LOOK_SECONDS, seconds=max(0.0, seconds))
    await warn(run)


async def between_merging(run: Run, act: Callable[[], Awaitable[T]], probation: Probation) -> T:
    """Act while no backup runs, however long that takes: a merge cannot be given up.

    Past the window's end the machine is on probation meanwhile.
    """
    return await backups.between_backups(
        run.hypervisor,
        run.machine,
        run.clock,
        act,
        say=run.task.log,
        kinds=NOT_MERGES,
        waits=probation.look,
    )


class Probation:
    """The time after a window in which a kept machine runs on its undo disks, as somebody holds them."""

    def __init__(self, run: Run) -> None:
        self._run = run
        #: Who held them past the window's end; empty where nobody did.
        self.held_by = ""

    async def look(self, held: str) -> None:
        """Note it once the window is over, and whenever another one holds the disks."""
        is_new = held.partition(" (")[0] != self.held_by.partition(" (")[0]
        if self._run.clock.now() < self._run.order.stop_at or not is_new:
            return
        self.held_by = held
        what = (
            "its update is in, and it" if self._run.is_decided else "its update was not begun, and it still"
        )
        sentence = (
            f"{ON_PROBATION}: {what} runs on its undo disks. {held}: they are merged as soon as that has "
            "ended, by itself."
        )
        self._run.task.log(sentence, LogLevel.WARNING)
        await self._run.on_probation(self._run, sentence)


async def tell(run: Run) -> None:
    """Log which backups were taken while the undo disks were on."""
    settled = run.known(Settled)
    if settled is None:
        return
    now = await run.hypervisor.backups.checkpoints(run.machine)
    for checkpoint in backups.begun_since(settled.checkpoints, now):
        run.task.log(f"A backup was taken while the undo disks were on: checkpoint {checkpoint.name}.")


async def warn(run: Run) -> None:
    """Log that a backup which still runs is cut off."""
    if await run.hypervisor.backups.jobs(run.machine) & NOT_MERGES:
        run.task.log(f"A backup of {run.title} is running, and is cut off now.", LogLevel.WARNING)


async def mend(run: Run, *, is_rolled_back: bool = False) -> Mended:
    """Mend what backups that were taken meanwhile need, or log what the next backup must be."""
    settled = run.known(Settled)
    before = None if settled is None else settled.checkpoints
    mended = await backups.mend_backups(
        run.hypervisor, run.undo.plan, run.clock, before, is_rolled_back=is_rolled_back
    )
    if before is not None and mended.checkpoints and not mended.lost:
        names = ", ".join(mended.checkpoints)
        run.task.log(
            f"Backups were taken while the undo disks were on ({names}): increments go on from them."
        )
    for sentence in mended.lost:
        run.task.log(sentence, LogLevel.WARNING)
    return mended


def _still_running(run: Run) -> Stop:
    return Stop(
        Cause.UNFIT,
        f"A backup of {run.title} was still running when its window closed.",
        code=ErrorCode.ERROR_BUSY,
        advice="Give backups and updates windows of their own, or lengthen this one.",
    )
