"""Check of each machine whether it can be maintained tonight: by the checks that a run makes first."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Final, TypeVar

import structlog

from innkeeper.channels.ports import GuestAgents
from innkeeper.errors import (
    AgentError,
    ErrorCode,
    HypervisorError,
    InnkeeperError,
    MachineError,
    MachineNotFound,
    ServiceError,
)
from innkeeper.machines.machine import OFF, Machine, MachineState
from innkeeper.machines.ports.host import Host
from innkeeper.machines.service import Machines, lock_of
from innkeeper.machines.undo.children import Users
from innkeeper.machines.undo.exclusion import is_floppy_to_write, written_disks
from innkeeper.machines.undo.fitness import Examination, Obstacle
from innkeeper.machines.undo.memory import WithoutMemory, plan_memory
from innkeeper.tasks.clock import SystemClock
from innkeeper.tasks.outcome import traceback_of
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.waiting import Outrun, Signal, unless
from innkeeper.updates.admission import admission, refuse_busy, refuse_silent_agent
from innkeeper.updates.nights import Night, NightEntry
from innkeeper.updates.policy import Policy
from innkeeper.updates.ports import Hindrance, unhindered
from innkeeper.wire.checks import DiskUndo
from innkeeper.wire.events import Event, EventGroup, EventKind
from innkeeper.wire.states import GuestWay, RollBack

T = TypeVar("T")

_log = structlog.get_logger(__name__)

#: Machines of one host that are looked at at once.
_AT_ONCE: Final = 2
#: Overlays carry the number of their run; a check stands for one with more digits than runs have.
_A_RUN: Final = 99_999_999
#: Without any event, all machines are looked at again after this.
_EVERY_SECONDS: Final = 900.0
#: Where a host did not answer, it is tried again after this.
_AGAIN_SECONDS: Final = 30.0
#: What changes together is looked at together.
_GATHER_SECONDS: Final = 2.0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DiskCheck:
    """What an undo point does with one drive."""

    target: str
    path: str
    undo: DiskUndo
    #: Where its overlay will lie; empty where there is none.
    directory: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """What was found of one machine."""

    #: What people call it, and its key.
    machine: str
    key: str
    host: str
    at: dt.datetime
    roll_back: RollBack
    #: Everything that is in the way; a run is refused for the first.
    obstacles: tuple[Obstacle, ...]
    disks: tuple[DiskCheck, ...]
    #: What a roll back will not undo.
    notes: tuple[str, ...]
    #: How its guest is asked to update; ``None`` where nobody in it answers.
    way: GuestWay | None = None

    @property
    def can_be_maintained(self) -> bool:
        """Whether nothing is in the way."""
        return not self.obstacles


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Silent:
    """A host that did not answer."""

    host: str
    error: InnkeeperError


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """What was found of all machines, by name."""

    machines: tuple[Check, ...]
    silent: tuple[Silent, ...]


class Checks:
    """Checks of all machines, and what was last found of each. Nothing is touched."""

    #: A host that needs longer than this for one answer is silent.
    host_seconds = 30.0

    def __init__(
        self,
        *,
        machines: Machines,
        agents: GuestAgents,
        policy: Policy,
        clock: Clock,
        pace: Clock | None = None,
        hindrance: Hindrance = unhindered,
    ) -> None:
        """``pace`` is the clock of time-outs and of looking again: a simulated night has a quick one."""
        self._machines = machines
        self._agents = agents
        self._policy = policy
        self._clock = clock
        self._pace = pace or SystemClock()
        self._hindrance = hindrance
        self._last: dict[str, Check] = {}
        self._looking: asyncio.Task[Checked] | None = None
        self._changed: set[str] = set()
        self._looked_at = float("-inf")
        self._tried_at = float("-inf")
        #: The hosts that did not answer when all machines were last looked at.
        self._silent: frozenset[str] = frozenset()
        self._woken = Signal(is_set=True)

    # Questions

    async def one(self, name: str) -> Check:
        """Look at one machine, whatever the case of its letters. Raises ``MachineNotFound``."""
        machine = await self._machines.get(name)
        return self._hindered(await self._within(self._machines.hosts[machine.host], machine))

    async def all(self) -> Checked:
        """Look at all machines, hosts side by side; who asks meanwhile shares the answer."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_at_all(), name="machine checks")
        found = await asyncio.shield(self._looking)
        return dataclasses.replace(found, machines=tuple(map(self._hindered, found.machines)))

    def last(self, key: str) -> Check | None:
        """What was found when the machine was last looked at; ``None`` where it has not been yet."""
        return self._last.get(key)

    def judge(self, night: Night) -> Night:
        """Take out of a plan what the last look at its machine would refuse, and say why."""
        entries = [self._judged(entry) for entry in night.entries]
        return dataclasses.replace(
            night, entries=tuple(sorted(entries, key=lambda entry: entry.start is None))
        )

    def _hindered(self, check: Check) -> Check:
        """The check, with what keeps its host from beginning anything at this moment."""
        sentence = self._hindrance(check.host)
        if not sentence:
            return check
        error = ServiceError(sentence, code=ErrorCode.ERROR_NOT_READY)
        return dataclasses.replace(check, obstacles=(*check.obstacles, Obstacle(target="", error=error)))

    def _judged(self, entry: NightEntry) -> NightEntry:
        check = self.last(entry.key)
        if entry.task_id is not None or not entry.fits or check is None or check.can_be_maintained:
            return entry
        error = check.obstacles[0].error
        if error.code is ErrorCode.ERROR_BUSY:
            # It is worked on now, and will not be any more by then.
            return entry
        return dataclasses.replace(
            entry, fits=False, start=None, end=None, reason=f"{error.sentence} {error.advice}".strip()
        )

    # Keeping up

    async def run(self) -> None:
        """Look at all machines from time to time, and at those that have changed soon after."""
        while True:
            waits = self._silent or self._unanswered()
            await self._woken.wait_within(self._pace, _AGAIN_SECONDS if waits else _EVERY_SECONDS)
            await self._pace.sleep(_GATHER_SECONDS)
            self._woken.clear()
            changed, self._changed = self._changed, set()
            if self._pace.monotonic() - self._looked_at >= _EVERY_SECONDS:
                await self._look_anew()
            else:
                await self._look_at(changed)
                if await self._is_answered_again():
                    await self._look_anew()

    def on_event(self, event: Event) -> None:
        """Heed what may have changed an answer."""
        if event.kind is EventKind.HOST_CONNECTED:
            self._looked_at = float("-inf")
            self._woken.set()
        elif (name := _machine_of(event)) is not None:
            self._changed.add(name)
            self._woken.set()

    async def _look_anew(self) -> None:
        self._looked_at = self._tried_at = self._pace.monotonic()
        await self.all()

    def _unanswered(self) -> set[str]:
        """A machine of each host, of which the last look had to say that some host did not answer."""
        one_a_host = {check.host: key for key, check in self._last.items() if _is_unanswered(check)}
        return {*one_a_host.values()}

    async def _is_answered_again(self) -> bool:
        """Whether a host answers again that did not: no event says so of one whose connection held."""
        if self._pace.monotonic() - self._tried_at < _AGAIN_SECONDS:
            return False
        self._tried_at = self._pace.monotonic()
        silent = [host for name, host in self._machines.hosts.items() if name in self._silent]
        listed = await asyncio.gather(*map(self._listed, silent))
        unanswered = self._unanswered()
        await self._look_at(unanswered)
        again = [self._last.get(key) for key in unanswered]
        return any(not isinstance(found, Silent) for found in listed) or any(
            check is None or not _is_unanswered(check) for check in again
        )

    async def _look_at(self, names: set[str]) -> None:
        for name in sorted(names):
            try:
                await self.one(name)
            except InnkeeperError as error:
                _log.debug("machine_not_checked", machine=name, error=str(error))

    # Machinery

    async def _look_at_all(self) -> Checked:
        hosts = list(self._machines.hosts.values())
        listed = await asyncio.gather(*map(self._listed, hosts))
        known = await self._users_of_images(
            machine for found in listed if not isinstance(found, Silent) for machine in found
        )
        answers = await asyncio.gather(
            *(self._look_at_host(host, found, known) for host, found in zip(hosts, listed, strict=True))
        )
        found = [check for checks in answers if not isinstance(checks, Silent) for check in checks]
        self._last = {check.key: check for check in found}
        self._silent = frozenset(answer.host for answer in answers if isinstance(answer, Silent))
        return Checked(
            machines=tuple(sorted(found, key=lambda check: (check.machine, check.host))),
            silent=tuple(answer for answer in answers if isinstance(answer, Silent)),
        )

    async def _listed(self, host: Host) -> Sequence[Machine] | Silent:
        try:
            listed = await self._in_time(host, host.inventory.list())
        except InnkeeperError as error:
            return Silent(host=host.name, error=error)
        return [self._machines.places.marked(machine) for machine in listed]

    async def _look_at_host(
        self, host: Host, machines: Sequence[Machine] | Silent, known: Users
    ) -> Sequence[Check] | Silent:
        if isinstance(machines, Silent):
            return machines
        slots = asyncio.Semaphore(_AT_ONCE)
        is_silent = asyncio.Event()

        async def look(machine: Machine) -> Check | None:
            async with slots:
                if is_silent.is_set():
                    return self._unknown(host, machine, self._too_long(host))
                try:
                    check = await self._within(host, machine, known)
                except MachineNotFound:
                    return None
            if any(isinstance(each.error, _TooLong) for each in check.obstacles):
                is_silent.set()
            return check

        return [check for check in await asyncio.gather(*map(look, machines)) if check is not None]

    async def _users_of_images(self, machines: Iterable[Machine]) -> Users:
        """Who stands on all these machines' images, by one look at each host."""
        known = Users()
        paths = [disk.path for machine in machines for disk in written_disks(machine) if disk.path]

        async def look(host: Host) -> None:
            try:
                await self._in_time(host, known.look(host, paths))
            except HypervisorError as error:
                known.give_up(host, error)
            except InnkeeperError:
                return  # what is in the way is said for each machine

        await asyncio.gather(*map(look, self._machines.hosts.values()))
        return known

    async def _within(self, host: Host, machine: Machine, known: Users | None = None) -> Check:
        """Look at one machine, for so long at most; whatever goes wrong is an answer about this one."""
        try:
            check = await self._in_time(host, self._look(host, machine, known))
        except MachineNotFound:
            raise
        except InnkeeperError as error:
            check = self._unknown(host, machine, error)
        except Exception as error:
            _log.error("machine_check_failed", machine=machine.title, traceback=traceback_of(error))
            check = self._unknown(host, machine, InnkeeperError(f"It could not be looked at: {error}"))
        self._last[machine.key] = check
        return check

    async def _look(self, host: Host, machine: Machine, known: Users | None) -> Check:
        await refuse_busy(machine, self._machines)
        if machine.state in OFF:
            await self._machines.refuse_second(machine, anew=False)
        others = tuple(self._machines.hosts.values())
        found = await admission(host, machine, _A_RUN, self._policy.undo, others, known)
        obstacles = found.obstacles
        try:
            refuse_silent_agent(machine, self._agents)
        except AgentError as error:
            if machine.has_agent_port or machine.has_guest_agent_port:
                obstacles = (*obstacles, Obstacle(target="", error=error))
        roll_back, notes = RollBack.NONE, (*found.plan.gaps, *found.unseen)
        if not obstacles:
            roll_back, obstacles, more = await self._roll_back(host, machine, found)
            notes = (*notes, *more, *await _remarks(host, machine, found), *self._limits(machine))
        return Check(
            machine=machine.title,
            key=machine.key,
            host=host.name,
            at=self._clock.now(),
            roll_back=roll_back,
            obstacles=obstacles,
            disks=tuple(_disks(machine, found)),
            notes=notes,
            way=self._agents.way(machine.key),
        )

    def _limits(self, machine: Machine) -> Sequence[str]:
        """What a machine lacks whose guest has no task agent, and how it gets one."""
        limits = self._agents.limits(machine.key)
        if self._agents.way(machine.key) is not GuestWay.QEMU_GUEST_AGENT:
            return ()
        return (f"It is updated through qemu-guest-agent. {' '.join(limits)}".strip(),)

    async def _roll_back(
        self, host: Host, machine: Machine, found: Examination
    ) -> tuple[RollBack, tuple[Obstacle, ...], tuple[str, ...]]:
        """What a roll back would come back to; with what is in the way of memory that was asked for."""
        rules = self._policy.memory
        if not self._policy.keeps_memory_of(machine):
            return self._policy.roll_back_of(machine), (), ()
        try:
            memory = await plan_memory(host, machine, found.plan, _A_RUN, rules, self._policy.undo)
        except MachineError as error:
            if rules.otherwise is WithoutMemory.REFUSE:
                return RollBack.NONE, (Obstacle(target="", error=error),), ()
            return RollBack.DISKS, (), (error.sentence,)
        return RollBack.MEMORY, (), (memory.words,)

    def _unknown(self, host: Host, machine: Machine, error: InnkeeperError) -> Check:
        return Check(
            machine=machine.title,
            key=machine.key,
            host=host.name,
            at=self._clock.now(),
            roll_back=RollBack.NONE,
            obstacles=(Obstacle(target="", error=error),),
            disks=(),
            notes=(),
        )

    async def _in_time(self, host: Host, asked: Awaitable[T]) -> T:
        try:
            return await unless(asked, self._pace.sleep(self.host_seconds))
        except Outrun:
            raise self._too_long(host) from None

    def _too_long(self, host: Host) -> _TooLong:
        return _TooLong(
            f"The host {host.name} did not answer within {self.host_seconds:g} seconds.",
            code=ErrorCode.VM_E_TIMED_OUT,
            advice="See whether libvirt on it answers: innkeeper host list",
        )


def _is_unanswered(check: Check) -> bool:
    """Whether its own host, or another on its computer, did not answer; a disk that hangs is not meant."""
    return any(obstacle.error.code is ErrorCode.ERROR_ONLY_IF_CONNECTED for obstacle in check.obstacles)


async def _remarks(host: Host, machine: Machine, found: Examination) -> Sequence[str]:
    """What is in no run's way, and is worth knowing before it."""
    remarks: list[str] = []
    if not found.plan.disks:
        remarks.append(f"{machine.title} has no disk that an undo point covers.")
    if machine.state is MachineState.RUNNING and await host.backups.jobs(machine.name):
        remarks.append(
            f"A backup or another job of libvirt runs on {machine.title}: a run waits for its end."
        )
    return remarks


def _machine_of(event: Event) -> str | None:
    """The machine of which something has changed: by itself, or because a task let go of it."""
    if event.kind.group in (EventGroup.MACHINE, EventGroup.AGENT, EventGroup.UNDO):
        return event.about or None
    lock = str(event.data.get("lock") or "")
    is_let_go = event.kind is EventKind.TASK_ENDED and lock.startswith(lock_of(""))
    return lock.removeprefix(lock_of("")) if is_let_go else None


class _TooLong(HypervisorError):
    """The host is silent: nobody else asks it now."""


def _disks(machine: Machine, found: Examination) -> Sequence[DiskCheck]:
    written = {disk.target for disk in written_disks(machine)}
    refused = {obstacle.target for obstacle in found.obstacles}
    overlays: Mapping[str, str] = found.plan.overlays
    checks: list[DiskCheck] = []
    for disk in machine.disks:
        if disk.target in found.plan.excluded or is_floppy_to_write(disk):
            undo = DiskUndo.EXCLUDED
        elif disk.target not in written:
            undo = DiskUndo.READ_ONLY
        elif disk.target in refused or disk.target not in overlays:
            undo = DiskUndo.REFUSED
        else:
            undo = DiskUndo.OVERLAY
        directory = str(PurePath(overlays[disk.target]).parent) if undo is DiskUndo.OVERLAY else ""
        checks.append(DiskCheck(target=disk.target, path=disk.path, undo=undo, directory=directory))
    return checks
