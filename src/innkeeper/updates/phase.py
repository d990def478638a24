"""A phase of an update run: done once, recorded, and given up when it must be."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from innkeeper.channels.ports import AgentTask, GuestAgent, GuestAgents, HealthReport, UpdateStatus
from innkeeper.errors import AgentError, ErrorCode, HypervisorError, InnkeeperError, MachineUnfit
from innkeeper.machines.asking import is_away
from innkeeper.machines.machine import Machine, MachineState
from innkeeper.machines.ports.host import Host
from innkeeper.machines.undo.memory import MemoryPoint
from innkeeper.machines.undo.point import BaseRecord, UndoPlan, UndoPoint
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.running import RunningTask
from innkeeper.tasks.task import CancelEffect, LogLevel
from innkeeper.tasks.waiting import Outrun, unless, until
from innkeeper.updates.bookings import Bookings
from innkeeper.updates.boots import BootSlots
from innkeeper.updates.facts.fact import Facts
from innkeeper.updates.facts.guest import Baseline
from innkeeper.updates.facts.machine import Admitted, Protected, Recorded
from innkeeper.updates.follow import session
from innkeeper.updates.order import RunOrder
from innkeeper.updates.outcome import Cause, Outcome, Stop
from innkeeper.updates.policy import Policy, UndoPointPolicy
from innkeeper.updates.reboots import RebootWatch
from innkeeper.wire.events import Json
from innkeeper.wire.json_fields import JsonObject

T = TypeVar("T")

#: What becomes of a machine whose guest has crashed, by the state that it is found in.
_AFTER_CRASH = {MachineState.PAUSED: "is kept as it is", MachineState.TURNED_OFF: "is turned off"}
F = TypeVar("F", bound=Facts)

#: The phase that passes the point of no return.
DECIDE = "decide"

#: Between two looks whether a host that is away is back.
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 10.0
#: So long an update that has touched nothing waits for another host on its machine's computer.
NEIGHBOUR_SECONDS = 900.0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """One step of the night, as the journal has it."""

    #: Its name in the journal and in the report.
    name: str
    #: What it does, for a person.
    title: str
    #: The work: idempotent, for it is done again when a crash interrupts it.
    work: Callable[[Run], Awaitable[Facts | None]]
    #: What it finds out for the phases after it; ``None`` for nothing.
    finds: type[Facts] | None = None
    #: Whether there is nothing to do, by what the phases before it have found out, and by that alone: a run
    #: that goes on after a crash must say the same.
    is_idle: Callable[[Run], bool] | None = None
    #: Whether a cancel, the window's end or the limit may interrupt it; else they wait for its end.
    waits: bool = False
    #: The longest it may take, in seconds.
    limit: Callable[[Policy], float] | None = None
    #: Whether the first release did not have it: its journals have no step for it where it is idle.
    is_newer: bool = False


class Run:
    """One update run: its order, what its phases need, and what they have found out."""

    def __init__(
        self,
        *,
        order: RunOrder,
        task: RunningTask,
        hypervisor: Host,
        hosts: Sequence[Host],
        agents: GuestAgents,
        bookings: Bookings,
        boots: BootSlots,
        clock: Clock,
        policy: Policy,
        refuse_second: Callable[[Machine], Awaitable[None]],
        reboots: RebootWatch,
        on_probation: Callable[[Run, str], Awaitable[None]],
    ) -> None:
        """``refuse_second`` raises where another host runs the machine, defined twice.

        ``on_probation`` notes that the machine runs on its undo disks past its window, and why.
        """
        self.refuse_second = refuse_second
        self.order = order
        self.task = task
        self.hypervisor = hypervisor
        self.hosts = hosts
        self.agents = agents
        self.bookings = bookings
        self.boots = boots
        self.clock = clock
        self.policy = policy
        self.reboots = reboots
        self.on_probation = on_probation
        #: How each phase went, in order.
        self.outcomes: dict[str, Outcome] = {}
        self._facts: list[Facts] = []
        #: What was said last of another host that is waited for.
        self._last_told = ""

    # What the phases found out

    def known(self, kind: type[F]) -> F | None:
        """What a phase has found out of this kind, or ``None`` where none has yet."""
        return next((facts for facts in self._facts if isinstance(facts, kind)), None)

    def fact(self, kind: type[F]) -> F:
        """What a phase before this one is sure to have found out."""
        facts = self.known(kind)
        if facts is None:
            raise AssertionError(f"{kind.__name__} is asked for before its phase")
        return facts

    @property
    def machine(self) -> str:
        """The machine's name at its host."""
        return self.order.machine

    @property
    def title(self) -> str:
        """What people call the machine."""
        return self.order.title or self.order.machine

    @property
    def found(self) -> MachineState:
        """The state that the machine was found in."""
        return self.fact(Admitted).found

    @property
    def had_agent(self) -> bool:
        """Whether its agent answered before anything was begun."""
        baseline = self.known(Baseline)
        return baseline is not None and baseline.had_agent

    @property
    def plan(self) -> UndoPlan | None:
        """The undo point's plan, once there is one."""
        admitted = self.known(Admitted)
        return None if admitted is None else admitted.plan

    @property
    def undo(self) -> UndoPoint:
        """The undo point."""
        return UndoPoint(self.hypervisor, self.fact(Admitted).plan, clock=self.clock)

    @property
    def undo_point_policy(self) -> UndoPointPolicy:
        """How the undo point is taken, as it was decided when the machine was admitted."""
        return self.fact(Admitted).undo_point or self.policy.undo_point

    @property
    def memory(self) -> MemoryPoint | None:
        """The memory of the undo point, where it was planned to be kept."""
        admitted = self.known(Admitted)
        if admitted is None or admitted.memory is None:
            return None
        return MemoryPoint(self.hypervisor, admitted.memory, clock=self.clock)

    @property
    def is_protected(self) -> bool:
        """Whether the undo point is known to be taken."""
        return self.known(Protected) is not None

    @property
    def bases(self) -> tuple[BaseRecord, ...]:
        """What the bases were like when the undo point had been taken."""
        recorded = self.known(Recorded)
        return () if recorded is None else recorded.bases

    @property
    def baseline(self) -> HealthReport | None:
        """The guest's health before the update."""
        baseline = self.known(Baseline)
        return None if baseline is None else baseline.report

    @property
    def away_seconds(self) -> float:
        """How long the guest may take to go down or come up, as its agent says; 0 where it says nothing."""
        baseline = self.known(Baseline)
        return 0.0 if baseline is None else baseline.away_seconds

    @property
    def agent_seconds(self) -> float:
        """How long the guest's agent is waited for."""
        return max(self.policy.agent_seconds, self.away_seconds)

    @property
    def shut_down_seconds(self) -> float:
        """How long the guest may take to power off."""
        return max(self.policy.shut_down_seconds, self.away_seconds)

    @property
    def is_decided(self) -> bool:
        """Whether the point of no return is passed: the update stays."""
        return DECIDE in self.outcomes

    # What phases do

    async def state(self) -> Machine:
        """The machine as its host has it now."""
        return await self.hypervisor.inventory.get(self.machine)

    async def key(self) -> str:
        """The machine's key, by which its agent is found; orders of former releases have none."""
        return self.order.key or (await self.state()).key

    async def check_alive(self) -> None:
        """Raises ``Stop`` where the machine does not run, and so no guest can answer."""
        state = (await self.state()).state
        has_crashed = self.reboots.seen(self.order.of_machine, self.order.started_at).crashes > 0
        if has_crashed and state in _AFTER_CRASH:
            raise Stop(
                Cause.FAILED,
                f"The kernel of {self.machine} crashed, as its panic device said, and by its definition "
                f"(on_crash) it {_AFTER_CRASH[state]} then.",
                code=ErrorCode.VM_E_VM_NOT_RUNNING,
            )
        if state is MachineState.PAUSED:
            raise Stop(
                Cause.FAILED,
                f"{self.machine} was paused: its host may have run out of room for its disks.",
                code=ErrorCode.VM_E_VM_PAUSED,
            )
        if state in (MachineState.TURNED_OFF, MachineState.SAVED):
            raise Stop(
                Cause.FAILED,
                f"{self.machine} stopped by itself.",
                code=ErrorCode.VM_E_VM_NOT_RUNNING,
                advice="See QEMU's log on the host.",
            )

    async def agent(
        self, timeout: float, *, other_boot_than: str = "", told: float | None = None
    ) -> GuestAgent:
        """A session with the guest's agent. Raises ``AgentError``, or ``Stop`` where the machine died."""
        return await session(
            self.agents,
            await self.key(),
            clock=self.clock,
            timeout=timeout,
            check_alive=self.check_alive,
            other_boot_than=other_boot_than,
            told=told,
        )

    async def ask(self, question: Callable[[GuestAgent], Awaitable[T]], *, seconds: float | None = None) -> T:
        """Ask the guest's agent; a session that is lost meanwhile is no answer, so it is asked again.

        It has the time of a guest that boots to answer, or so many seconds. Raises as ``agent`` does.
        """
        seconds = self.agent_seconds if seconds is None else seconds
        give_up = self.clock.monotonic() + seconds
        while True:
            left = max(0.0, give_up - self.clock.monotonic())
            agent = await self.agent(left, told=seconds)
            try:
                return await question(agent)
            except AgentError:
                if self.clock.monotonic() >= give_up:
                    raise
            await self.clock.sleep(self.policy.poll_seconds)

    async def wait_for(self, state: MachineState, seconds: float) -> bool:
        """Whether the machine came to this state in time."""

        async def look() -> bool:
            return (await self.state()).state is state

        return await until(self.clock, look, every=self.policy.poll_seconds, seconds=seconds)

    def on_progress(self, done: int, total: int) -> None:
        """Pass on how far a long call of the host has come."""
        self.task.report(bytes_done=done, bytes_total=total)

    async def start(self, *, paused: bool = False) -> None:
        """Boot the machine or restore its saved state, and log what a person should know of it."""
        remark = await self.hypervisor.lifecycle.start(
            self.machine, paused=paused, on_progress=self.on_progress
        )
        if remark:
            self.task.log(remark, LogLevel.WARNING)

    async def on_state(self, task: AgentTask) -> None:
        """Pass on what the guest's agent says of the update."""
        self.task.log(f"{task.status.name}: {task.text}" if task.text else task.status.name)
        await self.set_status(task.status)

    async def set_status(self, status: UpdateStatus) -> None:
        """Give the booking its state."""
        await self.bookings.status_changed(self.order.of_machine, self.order.identifier, self.task.id, status)

    def on_output(self, text: str) -> None:
        """Keep what the update printed."""
        self.task.log(text, LogLevel.OUTPUT)

    def must_stop(self) -> Stop | None:
        """Why the run may not go on now, if so."""
        if self.task.cancel_requested:
            return _cancelled()
        if self.clock.now() >= self.order.stop_at:
            return _window_end(self.order.stop_at)
        return None

    def give_up(self) -> None:
        """Raises ``Stop`` where the run may not go on now."""
        if (stop := self.must_stop()) is not None:
            raise stop

    async def give_up_cancelling(self) -> None:
        """Accept no cancel from here on."""
        await self.task.set_cancel_effect(CancelEffect.NONE)

    # The journal

    async def go(self, phase: Phase) -> Outcome:
        """Go through a phase on the way forward; whatever is wrong becomes its outcome."""

        async def action() -> Json:
            began = self.clock.monotonic()
            try:
                facts = await self._forward(phase)
            except Stop as stop:
                return self._ended(Outcome.stopped(stop, self.clock.monotonic() - began))
            return self._ended(Outcome.went_on(_as_json(facts), self.clock.monotonic() - began))

        return await self._record(phase, action)

    async def finish(self, phase: Phase) -> Outcome:
        """Go through a phase of an ending: tried again and again, for nothing else would help."""

        async def action() -> Json:
            began = self.clock.monotonic()
            try:
                facts = await self._insist(phase)
            except Stop as stop:
                return self._ended(Outcome.stopped(stop, self.clock.monotonic() - began))
            return self._ended(Outcome.went_on(_as_json(facts), self.clock.monotonic() - began))

        return await self._record(phase, action)

    def _ended(self, outcome: Outcome) -> Json:
        seen = self.reboots.seen(self.order.of_machine, self.phase_began_at)
        return dataclasses.replace(
            outcome, ended_at=self.clock.now(), reboots=seen.reboots, crashes=seen.crashes
        ).to_json()

    async def _record(self, phase: Phase, action: Callable[[], Awaitable[Json]]) -> Outcome:
        may_be_left_out = self.order.leaves_out_idle or phase.is_newer
        if may_be_left_out and phase.is_idle is not None and phase.is_idle(self):
            outcome = Outcome.went_on({}, 0.0)
        else:
            outcome = Outcome.from_json(await self.task.step(phase.name, action))
        self.outcomes[phase.name] = outcome
        if phase.finds is not None and outcome.facts:
            self._facts.append(phase.finds.from_json(outcome.facts))
        for reason in outcome.reasons:
            self.task.log(reason, LogLevel.WARNING)
        return outcome

    async def _forward(self, phase: Phase) -> Facts | None:
        stop = self.must_stop()
        if stop is not None:
            raise stop
        try:
            return await self._on_a_host_that_answers(phase)
        except InnkeeperError as error:
            raise Stop.by(error) from error
        except Stop:
            raise
        except Exception as exc:
            # The top of a phase: whatever broke, the machine is put back.
            raise _broken(phase, exc) from exc

    async def _on_a_host_that_answers(self, phase: Phase) -> Facts | None:
        """Do the work, and again where the host was away in the middle: what has begun is found begun."""
        answered, gone = 0, self._gone_seconds
        began = self.clock.monotonic()
        while True:
            work = phase.work(self)
            try:
                return await (self._interruptible(work, *self._limits(phase, gone)) if phase.waits else work)
            except HypervisorError as error:
                answered += await self._answers()
                if not is_away(error) or answered >= self.policy.retries:
                    raise
                self._tell_away(error)
            except MachineUnfit as error:
                if not is_away(error):
                    raise
                await self._wait_for_a_neighbour(error, began)
                continue
            await self._interruptible(self._until_the_host_answers())
            gone = 0.0  # the time for which the host was away counts for nothing

    @property
    def phase_began_at(self) -> dt.datetime:
        """When the phase that is under way began: a former life of the service may have begun it."""
        ended = [outcome.ended_at for outcome in self.outcomes.values() if outcome.ended_at is not None]
        return max(ended, default=self.order.started_at)

    @property
    def _gone_seconds(self) -> float:
        """How long ago the phase began; 0 in journals that do not say."""
        is_known = any(outcome.ended_at is not None for outcome in self.outcomes.values())
        return max((self.clock.now() - self.phase_began_at).total_seconds(), 0.0) if is_known else 0.0

    async def _answers(self) -> bool:
        """Whether the host says what state the machine is in."""
        try:
            await self.state()
        except HypervisorError as error:
            return not is_away(error)
        return True

    def _tell_away(self, error: HypervisorError) -> None:
        self.task.log(
            f"{self.hypervisor.name} is away, and is waited for. {error.sentence}", LogLevel.WARNING
        )

    async def _wait_for_a_neighbour(self, error: MachineUnfit, began: float) -> None:
        """Wait a moment for another host on the same computer; in the end, raise a ``Stop`` that names it.

        Where nothing is touched yet, the update is put off then; else its window's end rolls it back.
        """
        is_untouched = self.plan is None
        try:
            await self._interruptible(self._rest_for_a_neighbour(error))
        except Stop as stop:
            if stop.cause is not Cause.WINDOW_END:
                raise
            raise _neighbour_silent(error, is_untouched, *stop.reasons) from None
        if is_untouched and self.clock.monotonic() - began >= NEIGHBOUR_SECONDS:
            raise _neighbour_silent(error, is_untouched) from error

    async def _rest_for_a_neighbour(self, error: MachineUnfit) -> None:
        """Wait before another host on the machine's computer, which may use its disks too, is asked again."""
        if error.sentence != self._last_told:
            self.task.log(f"{error.sentence} It is waited for.", LogLevel.WARNING)
            self._last_told = error.sentence
        await self.clock.sleep(_LONGEST_PAUSE_SECONDS)

    async def _until_the_host_answers(self) -> None:
        """Look again and again: what goes on in the guest meanwhile goes on."""
        pause_seconds = _FIRST_PAUSE_SECONDS
        await self.clock.sleep(pause_seconds)
        while not await self._answers():
            pause_seconds = min(2 * pause_seconds, _LONGEST_PAUSE_SECONDS)
            await self.clock.sleep(pause_seconds)
        self.task.log(f"{self.hypervisor.name} is back.")

    async def _interruptible(self, work: Awaitable[T], *limits: tuple[Awaitable[None], Stop]) -> T:
        """Do the work until it ends, or until something ends the wait for it."""
        left = (self.order.stop_at - self.clock.now()).total_seconds()
        interruptions = [
            (self.task.cancelled(), _cancelled()),
            (self.clock.sleep(left), _window_end(self.order.stop_at)),
            *limits,
        ]
        try:
            return await unless(work, *(waiting for waiting, _ in interruptions))
        except Outrun as outrun:
            raise interruptions[outrun.number][1] from None

    def _limits(self, phase: Phase, gone_seconds: float) -> tuple[tuple[Awaitable[None], Stop], ...]:
        if phase.limit is None:
            return ()
        limit = phase.limit(self.policy)
        # Whoever comes back late hears first what the guest has come to meanwhile.
        left = max(limit - gone_seconds, min(limit, self.agent_seconds))
        return ((self.clock.sleep(left), _out_of_time(phase, limit)),)

    async def _insist(self, phase: Phase) -> Facts | None:
        failures = 0
        while True:
            try:
                return await phase.work(self)
            except Stop:
                raise
            except Exception as exc:
                if isinstance(exc, HypervisorError) and is_away(exc) and not await self._answers():
                    self._tell_away(exc)
                    await self._until_the_host_answers()
                    continue
                if isinstance(exc, MachineUnfit) and is_away(exc):
                    await self._rest_for_a_neighbour(exc)
                    continue
                # The top of a phase that must not fail: only a person can do better.
                failures += 1
                self.task.log(f"{phase.title} failed ({failures}): {exc}", LogLevel.WARNING)
                if failures >= self.policy.retries:
                    raise Stop.by(exc) if isinstance(exc, InnkeeperError) else _broken(phase, exc) from exc
            await self.clock.sleep(self.policy.retry_seconds)


def _as_json(facts: Facts | None) -> JsonObject:
    return {} if facts is None else facts.to_json()


def _cancelled() -> Stop:
    return Stop(Cause.CANCELLED, "It was cancelled.", code=ErrorCode.ERROR_CANCELLED)


def _window_end(stop_at: dt.datetime) -> Stop:
    return Stop(
        Cause.WINDOW_END,
        f"Its window closes, and after {stop_at:%H:%M:%S} UTC there is only time to roll back.",
        code=ErrorCode.ERROR_CANCELLED,
        advice="Lengthen the window, or book the update for a longer one.",
    )


def _neighbour_silent(error: MachineUnfit, is_untouched: bool, *more: str) -> Stop:
    return Stop(
        Cause.NOT_PREPARED if is_untouched else Cause.WINDOW_END,
        error.sentence,
        *more,
        code=error.code,
        advice=error.advice,
    )


def _out_of_time(phase: Phase, limit: float) -> Stop:
    return Stop(
        Cause.TIME_OUT,
        f"{phase.title} did not end within {limit:g} seconds.",
        code=ErrorCode.VM_E_TIMED_OUT,
        advice="Look at the update's output in the task's log.",
    )


def _broken(phase: Phase, exc: Exception) -> Stop:
    return Stop(Cause.FAILED, f"{phase.title} failed: {exc!r}.", code=ErrorCode.E_UNEXPECTED)
