"""An update run: wake the machine, put an undo disk under it, update, verify, keep or roll back, restore."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from innkeeper.channels.ports import GuestAgents, UpdateStatus
from innkeeper.errors import ErrorCode, UpdateError
from innkeeper.machines.machine import OFF
from innkeeper.machines.service import Machines
from innkeeper.machines.undo.freezing import may_be_frozen
from innkeeper.machines.whereabouts import host_of
from innkeeper.servers.acting import acting_on
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.running import RunningTask, TaskCancelled
from innkeeper.tasks.service import Tasks
from innkeeper.tasks.task import LogLevel
from innkeeper.updates.booking import Verdict
from innkeeper.updates.bookings import Bookings
from innkeeper.updates.boots import BootSlots
from innkeeper.updates.endings import (
    CONSOLE,
    DROP,
    KEEP,
    LOOK_BACK,
    ROLL_BACK,
    ROLL_BACK_TO_MEMORY,
    STAND,
    read_console,
)
from innkeeper.updates.facts.ending import Standing
from innkeeper.updates.facts.guest import Applied, Begun, Printed
from innkeeper.updates.order import UPDATE_RUN, RunOrder
from innkeeper.updates.outcome import Cause, Outcome
from innkeeper.updates.phase import Phase, Run
from innkeeper.updates.phases import FORWARD, UPDATE
from innkeeper.updates.policy import Policy
from innkeeper.updates.ports import ReportStore
from innkeeper.updates.preparing import PREPARE, PREPARE_AFTER_WAKE, stop_preparing
from innkeeper.updates.reboots import RebootWatch
from innkeeper.updates.run_report import Ending, reboots_of, report_of
from innkeeper.wire.events import Json

_PHASE_COUNT = len(FORWARD) + len(KEEP)
#: Why a guest that is well has not begun its update.
_NOT_BEGUN = (Cause.NOTHING_TO_DO, Cause.NOT_PREPARED, Cause.UNCHANGED)
#: What a guest may be at fault for, whose console is worth a look then.
_OF_THE_GUEST = (Cause.FAILED, Cause.TIME_OUT)
#: Phases that may come to an end in which the update is tried again by itself.
_PREPARING = (PREPARE, PREPARE_AFTER_WAKE)


class UpdateRuns:
    """The work behind every task of the kind ``update_run``."""

    def __init__(
        self,
        *,
        tasks: Tasks,
        machines: Machines,
        agents: GuestAgents,
        bookings: Bookings,
        reports: ReportStore,
        boots: BootSlots,
        clock: Clock,
        policy: Policy,
        watch: RebootWatch,
    ) -> None:
        """``watch`` hears what hosts tell of reboots."""
        self._watch = watch
        self._machines = machines
        self._agents = agents
        self._bookings = bookings
        self._reports = reports
        self._boots = boots
        self._clock = clock
        self._policy = policy
        tasks.register(UPDATE_RUN, self.work)

    async def work(self, task: RunningTask, argument: Mapping[str, Json]) -> None:
        """Go forward; keep, or roll back; report."""
        run = self._run(task, RunOrder.from_json(argument))
        stop = await _go_forward(run)
        ending = await _end_of(run, stop)
        await self._report(run, ending)
        _raise_for(run, ending)

    def _run(self, task: RunningTask, order: RunOrder) -> Run:
        return Run(
            order=order,
            task=task,
            hypervisor=host_of(self._machines.hosts, task, {"host": order.host}),
            hosts=tuple(self._machines.hosts.values()),
            agents=self._agents,
            bookings=self._bookings,
            boots=self._boots,
            clock=self._clock,
            policy=self._policy,
            refuse_second=self._machines.refuse_second,
            reboots=self._watch,
            on_probation=self._put_on_probation,
        )

    async def _put_on_probation(self, run: Run, sentence: str) -> None:
        """Note it in booking and report; the run's end takes their place."""
        with acting_on(run.hypervisor.id):
            if run.is_decided:
                ending = Ending(verdict=Verdict.KEPT, stop=None)
                report = report_of(run, ending, (sentence,), Printed(lines=(), panics=0), now=self._clock)
                await self._reports.put(report)
            await self._bookings.on_probation(
                run.order.of_machine, run.order.identifier, run.task.id, sentence
            )

    async def _report(self, run: Run, ending: Ending) -> None:
        """Write down what it came to."""

        async def action() -> Json:
            told = await _frozen_still(run), await _said_by_the_console(run)
            report = report_of(run, ending, *told, now=self._clock)
            status = _status_of(ending)
            if status is not None:
                await run.set_status(status)
            reason = " ".join(report.reasons)
            with acting_on(run.hypervisor.id):
                await self._reports.put(report)
                await self._note_end(run, ending, reason)
            return None

        await run.task.step("report", action)
        run.task.log(f"The verdict: {ending.verdict.replace('_', ' ')}.")

    async def _note_end(self, run: Run, ending: Ending, reason: str) -> None:
        booking = run.order.of_machine, run.order.identifier, run.task.id
        if _is_put_off(run, ending):
            await self._bookings.put_off(*booking, reason)
        else:
            await self._bookings.ended(*booking, ending.verdict, reason)


async def _go_forward(run: Run) -> Outcome | None:
    """Go through the phases up to the point of no return; returns what stopped it, if anything did."""
    for number, phase in enumerate(FORWARD, 1):
        if phase.name in _PREPARING and not run.order.prepares:
            continue
        run.task.report(
            phase.title, number=number, count=_PHASE_COUNT, percent=100 * (number - 1) // _PHASE_COUNT
        )
        outcome = await run.go(phase)
        if outcome.cause is not None:
            return outcome
    return None


async def _end_of(run: Run, stop: Outcome | None) -> Ending:
    """Keep what the update did, or put everything back; what it has not begun to change is left as it is."""
    if stop is None:
        return await _keep(run)
    if run.is_protected and run.order.looks_back and stop.cause in _OF_THE_GUEST:
        await run.finish(CONSOLE)
    stop = await _looked_back(run, stop)
    has_begun = UPDATE in run.outcomes and not _was_never_begun(run)
    has_changed = has_begun and stop.cause is not Cause.UNCHANGED
    if run.plan is None or has_changed or not run.order.prepares:
        return await _roll_back(run, stop)
    return await _leave(run, stop)


async def _looked_back(run: Run, stop: Outcome) -> Outcome:
    """The same, as unchanged where the guest was never given the update whose end it did not tell."""
    is_told = run.known(Applied) is not None or stop.cause is Cause.UNCHANGED
    if is_told or UPDATE not in run.outcomes or not run.order.looks_back:
        return stop
    await run.finish(LOOK_BACK)
    if not _was_never_begun(run) or (stop.cause is not None and stop.cause.is_wish):
        return stop
    reasons = (*stop.reasons, "The guest has not begun the update.")
    return dataclasses.replace(stop, cause=Cause.UNCHANGED, reasons=reasons)


def _was_never_begun(run: Run) -> bool:
    """Whether the guest says that it has not begun the update that it was to be given."""
    begun = run.known(Begun)
    return begun is not None and not begun.has_begun


def _verdict_of(stop: Outcome) -> Verdict:
    """The verdict on a run that has changed nothing."""
    return Verdict.NOTHING_TO_DO if stop.cause is Cause.NOTHING_TO_DO else Verdict.NOT_STARTED


async def _leave(run: Run, stop: Outcome) -> Ending:
    """End a run whose guest nothing has changed: one that ran goes on, and keeps what it wrote meanwhile."""
    await run.give_up_cancelling()
    if _stopped_while_preparing(run) and stop.cause is not Cause.NOTHING_TO_DO:
        await stop_preparing(run)
    if "settle" not in run.outcomes:
        return Ending(verdict=_verdict_of(stop), stop=stop)
    looked = await run.finish(STAND)
    if looked.cause is not None:
        reasons = (*stop.reasons, *looked.reasons)
        return await _roll_back(run, dataclasses.replace(looked, reasons=reasons))
    stands = run.fact(Standing).on_overlays
    if run.memory is not None and not stands:
        return await _roll_back(run, stop)
    trouble = await _end(run, KEEP if stands else DROP, first=len(run.outcomes) + 1)
    verdict = _verdict_of(stop)
    if run.is_protected and not stands and stop.cause not in _NOT_BEGUN:
        verdict = Verdict.ROLLED_BACK  # something went wrong with the machine on its undo disks
    return Ending(verdict=verdict if trouble is None else Verdict.NEEDS_HELP, stop=stop, trouble=trouble)


async def _keep(run: Run) -> Ending:
    """Merge, and restore the former state."""
    trouble = await _end(run, KEEP, first=len(FORWARD) + 1)
    verdict = Verdict.KEPT if trouble is None else Verdict.NEEDS_HELP
    return Ending(verdict=verdict, stop=None, trouble=trouble)


async def _roll_back(run: Run, stop: Outcome) -> Ending:
    """Put everything back as it was found."""
    if run.plan is None:
        return Ending(verdict=Verdict.NOT_STARTED, stop=stop)
    run.task.log("The machine is brought back to what it was before.", LogLevel.WARNING)
    await run.give_up_cancelling()
    phases = ROLL_BACK if run.memory is None else ROLL_BACK_TO_MEMORY
    trouble = await _end(run, phases, first=len(run.outcomes) + 1)
    if trouble is not None:
        return Ending(verdict=Verdict.NEEDS_HELP, stop=stop, trouble=trouble)
    verdict = Verdict.ROLLED_BACK if run.is_protected else Verdict.NOT_STARTED
    return Ending(verdict=verdict, stop=stop)


async def _end(run: Run, phases: tuple[Phase, ...], first: int) -> Outcome | None:
    """Go through an ending; returns what only a person can put right, if anything."""
    count = first - 1 + len(phases)
    for number, phase in enumerate(phases, first):
        run.task.report(phase.title, number=number, count=count)
        outcome = await run.finish(phase)
        if outcome.cause is not None:
            return outcome
    return None


def _is_put_off(run: Run, ending: Ending) -> bool:
    """Whether the booking waits for another run: nothing was changed, for a reason that may pass."""
    stop = ending.stop
    if stop is None or ending.verdict is not Verdict.NOT_STARTED or not run.order.prepares:
        return False
    was_late = stop.cause is Cause.WINDOW_END and (_stopped_while_preparing(run) or _was_never_begun(run))
    return was_late or stop.cause in _NOT_BEGUN


def _stopped_while_preparing(run: Run) -> bool:
    return any(name in _PREPARING and outcome.cause is not None for name, outcome in run.outcomes.items())


def _status_of(ending: Ending) -> UpdateStatus | None:
    """What the host makes of the update's state; ``None`` leaves what the guest's agent said."""
    if ending.verdict is Verdict.NOTHING_TO_DO:
        return UpdateStatus.SUCCESS
    if ending.stop is None or ending.verdict is Verdict.NOT_STARTED:
        return None
    late = ending.stop.cause in (Cause.TIME_OUT, Cause.WINDOW_END)
    return UpdateStatus.TIMEOUT if late else UpdateStatus.FAILED


async def _frozen_still(run: Run) -> tuple[str, ...]:
    """What a guest may be left in that a freeze was asked of and that has not said that it is thawed."""
    if run.plan is None or run.is_protected:
        return ()
    machine = await run.state()
    return (may_be_frozen(machine),) if machine.freezing_since and machine.state not in OFF else ()


async def _said_by_the_console(run: Run) -> Printed:
    """What the console said: as it was read before a roll back, or of a guest that has rebooted by itself."""
    read = run.known(Printed)
    if read is not None:
        return read
    strange = reboots_of(run, panics=0)
    is_worth_it = run.order.looks_back and (strange.by_itself or strange.crashes)
    return await read_console(run) if is_worth_it else Printed(lines=(), panics=0)


def _raise_for(run: Run, ending: Ending) -> None:
    """End the task as its verdict says."""
    if ending.trouble is not None:
        raise UpdateError(
            f"The update of {run.title} needs help: {' '.join(ending.reasons)}",
            code=ErrorCode.E_UNEXPECTED,
            advice=ending.trouble.advice or "Everything was left in place. See the task's log.",
        )
    if ending.stop is None or ending.verdict is Verdict.NOTHING_TO_DO:
        return
    message = " ".join(ending.stop.reasons)
    if ending.stop.cause is not None and ending.stop.cause.is_wish:
        raise TaskCancelled(message)
    done = "was rolled back" if ending.verdict is Verdict.ROLLED_BACK else "was not begun"
    raise UpdateError(
        f"The update of {run.title} {done}: {message}", code=ending.stop.code, advice=ending.stop.advice
    )
