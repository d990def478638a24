"""Find machines over all hosts, and command them; what can take long is a task."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import structlog

from innkeeper.errors import (
    ErrorCode,
    InnkeeperError,
    InvalidArgument,
    MachineError,
    MachineNotFound,
    WrongState,
)
from innkeeper.machines.asking import ask, ask_all, is_away
from innkeeper.machines.change import Scope, SettingsChanged
from innkeeper.machines.command import refuse_state
from innkeeper.machines.command_work import CommandWork
from innkeeper.machines.description import Follow, MachineDescription, follow_none
from innkeeper.machines.directory import Directory
from innkeeper.machines.finding import Finder, Question, T
from innkeeper.machines.machine import OFF, Machine, MachineState
from innkeeper.machines.namesakes import Namesakes
from innkeeper.machines.places import Place, Places
from innkeeper.machines.ports.host import Host
from innkeeper.machines.undo.fitness import UndoRules
from innkeeper.machines.undo.to_running import undo_disks_of
from innkeeper.machines.undo.undoable import (
    checked_startup_option,
    refuse_changed_parents,
    stands_on_undo_disks,
)
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.service import Tasks
from innkeeper.tasks.task import CancelEffect, Task, TaskFilter, TaskResult
from innkeeper.wire.commands import Command
from innkeeper.wire.events import Json
from innkeeper.wire.virtual_pc import StartupOption

_log = structlog.get_logger(__name__)


def lock_of(key: str) -> str:
    """The lock that every task on the machine with this key holds while it lives."""
    return f"machine:{key}"


_RULES = UndoRules()


async def _nobody(reference: str) -> None:
    """Nobody else is there to hear of a machine."""


#: The kind of task that deals with the undo disks of a machine whose guest has powered off by itself.
UNDO_ACTION = "machine_undo_action"


_MERGE_PHASE = Command.MERGE_UNDO_DISKS.words.casefold()
#: Tasks that may merge undo disks: by hand, or as the undo action at a machine's end.
_MERGING_KINDS = (
    Command.MERGE_UNDO_DISKS.kind,
    Command.TURN_OFF.kind,
    Command.SHUT_DOWN.kind,
    UNDO_ACTION,
)

#: Tasks after which a machine runs, that its host's owner may not have told the others yet …
_STARTS = (Command.STARTUP.kind, Command.GO_BACK_TO_RUNNING.kind)
#: … for so long, and among so many of the latest tasks on it.
_NEWS = dt.timedelta(seconds=30)
_LATEST = 5


class Machines:
    """All virtual machines of the service (``IVMVirtualPC`` seen as a collection)."""

    def __init__(
        self,
        *,
        hypervisors: Sequence[Host] | Mapping[str, Host],
        tasks: Tasks,
        clock: Clock,
        run_has_merged: Callable[[int], Awaitable[bool]],
        rules: UndoRules = _RULES,
        directory: Directory | None = None,
    ) -> None:
        """``run_has_merged`` says whether an update run has passed its point of no return.

        ``directory`` knows the machines of other servers' hosts, where there are such.

        ``hypervisors`` by name may change while they are looked at: hosts come and go between servers.
        """
        self._hosts: Mapping[str, Host] = (
            hypervisors if isinstance(hypervisors, Mapping) else {each.name: each for each in hypervisors}
        )
        #: Hosts of the settings that are others of them by another address, each with the other's name.
        self._twins: dict[str, tuple[Host, str]] = {}
        self._places = Places(shared=directory is not None)
        self._finder = Finder(self._hosts, self._places)
        #: The hosts that did not answer when machines were last listed.
        self._silent: frozenset[str] = frozenset()
        #: Those that did.
        self._listed: frozenset[str] = frozenset()
        #: The machines that ran when they were last seen, by their keys, with their hosts.
        self._running: dict[str, str] = {}
        self._directory = directory
        self._namesakes = Namesakes(self._places, directory, self._hosts)
        #: Writes a new machine into the directory, by any reference to it, and returns when it is there.
        self.announce: Callable[[str], Awaitable[None]] = _nobody
        self._clock = clock
        self._tasks = tasks
        self._run_has_merged = run_has_merged
        work = CommandWork(
            self._hosts,
            clock=clock,
            merge_has_begun=self.merge_has_begun,
            refuse_second=self.refuse_second,
            rules=rules,
        )
        for command in Command:
            tasks.register(command.kind, work.work_of(command))
        tasks.register(UNDO_ACTION, work.undo_action)

    @property
    def hosts(self) -> Mapping[str, Host]:
        """The hosts, by name."""
        return self._hosts

    @property
    def twins(self) -> Mapping[str, tuple[Host, str]]:
        """Hosts that are not used, being others by another address; each with the other's name."""
        return self._twins

    def refuse_twins(self) -> None:
        """Use each host by one address alone: its machines are the same by both."""
        if not isinstance(self._hosts, dict):
            return  # hosts of an inn are told apart by their leases
        for name, host in list(self._hosts.items()):
            others = (each for each in self._hosts.values() if each.identity.is_of(host.identity))
            first = next(others, host)
            if first is not host:
                del self._hosts[name]
                self._twins[name] = host, first.name
                _log.error("host_named_twice", host=name, uri=host.uri, other=first.name)

    @property
    def silent(self) -> frozenset[str]:
        """The hosts that did not answer when machines were last listed."""
        return self._silent

    @property
    def listed(self) -> frozenset[str]:
        """The hosts that answered when machines were last listed: of others nothing is known."""
        return self._listed

    @property
    def unseen(self) -> Collection[str]:
        """The keys of machines that ran on hosts which did not answer when machines were last listed."""
        return [key for key, host in self._running.items() if host in self._silent]

    async def list(self) -> Sequence[Machine]:
        """All machines of the hosts that answer, by name and host."""
        return sorted(await self.everything(), key=lambda machine: (machine.name, machine.host))

    async def everything(self) -> Sequence[Machine]:
        """All machines of the hosts that answer, in no order.

        However many there are, others on the event loop have their turns in between.
        """
        self.refuse_twins()
        doubts = self._places.doubts()
        answers = await ask_all(self._hosts.values(), self._look_at)
        self._hear(answers.missing)
        self._listed = frozenset(answers.given)
        self._places.keep_only(self._hosts)
        self._places.settle(doubts)
        await self._namesakes.hear_of_new()
        running = {key: host for key, host in self._running.items() if host in answers.missing}
        found: list[Machine] = []
        for machines in answers.given.values():
            await asyncio.sleep(0)
            marked = [self._places.marked(machine) for machine in machines]
            running |= {m.key: m.host for m in marked if m.state is MachineState.RUNNING}
            found += marked
        self._running = running
        return found

    async def _look_at(self, host: Host) -> Sequence[Machine]:
        machines = await host.inventory.list()
        self._places.listed(host.name, machines)
        return machines

    async def get(self, reference: str) -> Machine:
        """Find a machine by its name, whatever the case of its letters (``FindVirtualMachine``).

        ``reference`` is a name, a host and a name (``attic/web-1``), a UUID, or a key. A key goes with its
        machine to another host. Raises ``MachineNotFound``, or ``MachineAmbiguous`` for a name of several.
        """
        found = await self._found(reference, lambda host, name: host.inventory.get(name))
        return self._places.marked(found)

    async def place_of(self, reference: str) -> Place:
        """Where a machine is, or was last while its host is away: for what waits for that.

        A host that did not answer the last list is not asked. Raises what ``get`` does, for a machine that
        was not seen.
        """
        if (seen := self._places.certain(reference)) is not None and seen.host in self._silent:
            return seen
        try:
            return Place.of(await self.get(reference))
        except InnkeeperError as error:
            place = self._places.only(reference) if is_away(error) else None
            if place is None:
                raise
            return place

    async def describe(
        self, reference: str, *, running: bool = False, follow: Follow = follow_none
    ) -> MachineDescription:
        """A machine with its configuration and its files, by one question to its host.

        Raises ``MachineNotFound`` or ``MachineAmbiguous``, as ``get``.
        """
        found = await self._found(
            reference, lambda host, name: host.configurations.describe(name, running=running, follow=follow)
        )
        return dataclasses.replace(found, machine=self._places.marked(found.machine))

    async def _found(self, reference: str, question: Question[T]) -> T:
        found = await self._finder.find(reference, question)
        if await self._namesakes.hear_of_new():
            # It may have been seen for the first time, and others elsewhere have its name.
            found = await self._finder.find(reference, question)
        return found

    async def hear_elsewhere(self) -> bool:
        """Hear which machines elsewhere have names or UUIDs of those here; whether that is news."""
        return await self._namesakes.hear()

    async def called_here(self, name: str) -> Sequence[Place]:
        """The machines of this name on the hosts of this server, with those that came a moment ago."""
        if self._places.is_unsure(name):
            with contextlib.suppress(InnkeeperError):
                await self.get(name)
        return [place for place in self._places.called(name) if not self._places.is_elsewhere(place)]

    def called(self, key: str) -> str:
        """What people call the machine with this key, as far as it was seen."""
        place = self._places.with_key(key)
        return key if place is None else self._places.title(place)

    @property
    def places(self) -> Places:
        """Where machines were when they were last seen."""
        return self._places

    async def hypervisor_of(self, name: str) -> Host:
        """The host that has the machine. Raises ``MachineNotFound``."""
        return self._hosts[(await self.get(name)).host]

    async def connect_disks(self, name: str) -> Sequence[str]:
        """Make a machine that is off use an export for each of its VHDs, which QEMU itself misreads.

        Returns the drives concerned. Raises ``WrongState`` where it is not turned off.
        """
        machine = await self.get(name)
        if machine.state is not MachineState.TURNED_OFF:
            raise WrongState.of(
                machine.title,
                machine.state,
                "have its disks connected",
                code=ErrorCode.VM_E_VM_RUNNING_OR_SAVED,
                advice=f"Shut it down first: innkeeper machine stop {machine.title}",
            )
        return await self._hosts[machine.host].disks.use_exports(machine.name)

    # Commands: each raises ``MachineNotFound``, ``WrongState`` or ``MachineBusy`` before a task is made

    async def startup(self, name: str, *, owner: str, option: int = StartupOption.NORMAL) -> Task:
        """Boot the machine, or restore its saved state (``IVMVirtualMachine::Startup``, ``Startup2``).

        Where it is undoable, undo disks take its writes from now on. Raises ``MachineError``
        (VM_E_PARENT_MODIFIED) where a parent of its disks was changed, unless ``option`` accepts that.
        """
        fix_parents = checked_startup_option(option)
        machine = await self.get(name)
        refuse_state(machine, Command.STARTUP)
        await self.refuse_second(machine)
        argument: dict[str, Json] = {}
        if machine.undoable or machine.known_parents:
            host = self._hosts[machine.host]
            extras = (await host.configurations.read(machine.name)).extras
            if not fix_parents:
                await refuse_changed_parents(host, machine.name, extras)
            argument = {"undoable": extras.undoable, "fix_parents": fix_parents}
        return await self._start(machine, Command.STARTUP, owner, argument)

    async def startup2(self, name: str, option: int, *, owner: str) -> Task:
        """Start it, with an option (``Startup2``)."""
        return await self.startup(name, owner=owner, option=option)

    async def refuse_busy(self, machine: Machine) -> None:
        """Raises ``MachineBusy`` where a live task holds the machine."""
        await self._tasks.refuse_held(lock_of(machine.key))

    async def refuse_second(self, machine: Machine, *, anew: bool = True) -> None:
        """Raises ``MachineError`` (ERROR_ALREADY_EXISTS) where another host runs this machine, defined twice.

        Two of them would write to the same disks. A task there counts too: it may start the machine next, and
        of two that are started at once neither is. ``anew``: the directory is asked where else it is.
        """
        for place in await self._twins_of(machine, anew=anew):
            state = await self._state_at(place)
            if state is not None and state not in OFF:
                raise _defined_twice(machine, place, f"is {state.words}")
            if state is not None and (doing := await self._work_on(place)):
                raise _defined_twice(machine, place, doing)

    async def _work_on(self, place: Place) -> str:
        """What a task does to a machine elsewhere, or did too lately for the directory to know it."""
        latest = await self._tasks.list(TaskFilter(lock=lock_of(place.key), limit=_LATEST))
        if any(task.ended_at is None for task in latest):
            return "is held by a task"
        if self._is_here(place):
            return ""  # its state has just been seen
        since = self._clock.now() - _NEWS
        starts = [task.ended_at for task in latest if task.kind in _STARTS and task.ended_at is not None]
        return "was started a moment ago" if any(ended_at > since for ended_at in starts) else ""

    def _is_here(self, place: Place) -> bool:
        return place.host in self._hosts and self._hosts[place.host].id == place.host_id

    async def _twins_of(self, machine: Machine, *, anew: bool) -> Sequence[Place]:
        """Where else this machine is defined, on hosts of this server and of others."""
        seen = {place.key: place for place in self._places.with_uuid(machine.uuid)}
        if self._directory is not None and anew:
            for entry in await self._directory.with_uuid(machine.uuid):
                place = Place(host=entry.host, host_id=entry.host_id, name=entry.name, uuid=entry.uuid)
                seen.setdefault(entry.key, place)
        return [place for key, place in seen.items() if key != machine.key]

    async def _state_at(self, place: Place) -> MachineState | None:
        """The state of a machine on a host, as its owner has seen it; ``None`` where it is gone."""
        if self._is_here(place):
            try:
                other = await ask(self._hosts[place.host], lambda host: host.inventory.get(place.name))
            except MachineNotFound:
                return None
            return other.state if other.uuid == place.uuid else None
        if self._directory is None:
            return None
        entries = await self._directory.with_uuid(place.uuid)
        return next((entry.state for entry in entries if entry.key == place.key), None)

    async def set_undoable(self, name: str, undoable: bool, *, owner: str = "innkeeper") -> None:
        """Set whether undo disks take the machine's writes (``Undoable``); it is off.

        False deletes the undo disks that there are, with what was written to them.
        """
        machine = await self.get(name)
        host = self._hosts[machine.host]
        await host.configurations.change(
            machine.name, SettingsChanged(values={"undoable": undoable}), Scope.BOTH
        )
        if not undoable and stands_on_undo_disks(machine):
            task = await self.command(machine.key, Command.DISCARD_UNDO_DISKS, owner=owner)
            await self._tasks.wait(task.id)
            ended = await self._tasks.get(task.id)
            if ended.result is not TaskResult.SUCCESS:
                raise MachineError(
                    f"The undo disks of {machine.title} were not deleted: {ended.error_description}",
                    machine=machine.title,
                    code=ErrorCode(ended.error),
                )

    async def settle_undo_disks(self, name: str) -> Task | None:
        """Apply the undo action of a machine whose guest has powered off; a task where there is work.

        Raises ``MachineBusy`` where a task holds it: that one applies it, or it is to be asked again.
        """
        machine = await self.get(name)
        if not machine.undo_pending or machine.state is not MachineState.TURNED_OFF:
            return None
        return await self._tasks.start(
            UNDO_ACTION,
            f"Apply the undo action of {machine.title}",
            {"machine": machine.name, "host": machine.host_id},
            lock=lock_of(machine.key),
            about=machine.title,
            host=machine.host_id,
            cancel_effect=CancelEffect.NONE,
        )

    async def command(
        self, name: str, command: Command, *, owner: str, timeout_seconds: float | None = None
    ) -> Task:
        """Start the task of a command to a machine.

        Raises ``InvalidArgument`` for a time-out where there is nothing to wait for.
        """
        if timeout_seconds is not None and not command.declaration.has_timeout:
            raise InvalidArgument(
                f"To {command.words} waits for no guest, so it has no time-out.",
                advice="Leave timeout_seconds out.",
            )
        if command is Command.STARTUP:
            return await self.startup(name, owner=owner)
        argument = {} if timeout_seconds is None else {"timeout_seconds": timeout_seconds}
        return await self._command(name, command, owner, argument)

    async def stop_keeping_undo_disks(self, name: str, command: Command, *, owner: str) -> Task:
        """Turn it off or shut it down without its undo action: it goes on with its undo disks later."""
        return await self._command(name, command, owner, {"keep_undo_disks": True})

    async def merge_has_begun(self, reference: str, run: int) -> bool:
        """Whether the run that made the undo disks, or a command since then, has begun to merge them."""
        machine = await self.get(reference)
        extras = (await self._hosts[machine.host].configurations.read(machine.name)).extras
        if run in extras.merging or await self._run_has_merged(run):
            return True
        for kind in _MERGING_KINDS:
            tasks = await self._tasks.list(TaskFilter(kind=kind, lock=lock_of(machine.key)))
            if any(task.id > run and _has_merged_in_vain(task) for task in tasks):
                return True
        return False

    def _hear(self, missing: Mapping[str, InnkeeperError]) -> None:
        """Log once that a host is silent, and once that it answers again."""
        for name in missing.keys() - self._silent:
            _log.warning("host.silent", host=name, error=missing[name].sentence)
        for name in self._silent - missing.keys():
            _log.info("host.answers", host=name)
        self._silent = frozenset(missing)

    async def _command(self, name: str, command: Command, owner: str, argument: Mapping[str, Json]) -> Task:
        machine = await self.get(name)
        refuse_state(machine, command)
        if command is Command.GO_BACK_TO_RUNNING:
            await undo_disks_of(self._hosts[machine.host], machine)
        return await self._start(machine, command, owner, argument)

    async def _start(
        self, machine: Machine, command: Command, owner: str, argument: Mapping[str, Json]
    ) -> Task:
        return await self._tasks.start(
            command.kind,
            f"{command.words.capitalize()} {machine.title}",
            {"machine": machine.name, "host": machine.host_id, **argument},
            lock=lock_of(machine.key),
            about=machine.title,
            host=machine.host_id,
            owner=owner,
            cancel_effect=command.declaration.cancel_effect,
        )


def _defined_twice(machine: Machine, other: Place, what: str) -> MachineError:
    return MachineError(
        f"{machine.title} {what} on the host {other.host} already: it is defined on both.",
        machine=machine.title,
        code=ErrorCode.ERROR_ALREADY_EXISTS,
        advice=f"Use that one ({other.full_name}), or remove one of the two definitions.",
    )


def _has_merged_in_vain(task: Task) -> bool:
    """Whether a merge was the last thing that a task set out to do, and it has not ended well."""
    return task.result is not TaskResult.SUCCESS and task.progress.phase.casefold() == _MERGE_PHASE
