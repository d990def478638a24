"""Innkeeper's operations by class id, as actions of scheduled tasks."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import datetime as dt
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from innkeeper.channels.ports import GuestAgents
from innkeeper.disks.service import Disks
from innkeeper.errors import ErrorCode, InnkeeperError, NotSupported, ScheduleError, TaskNotCancelable
from innkeeper.machines.machine import Machine
from innkeeper.machines.service import Machines
from innkeeper.machines.sight import seeing
from innkeeper.schedule.duration import Duration
from innkeeper.schedule.model.actions import ComHandlerAction
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.running.handlers import Handlers, Operation, TaskHandlerStatus, not_pausable
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.service import Tasks
from innkeeper.tasks.task import Task, TaskResult
from innkeeper.updates.bookings import Bookings
from innkeeper.wire.commands import Command
from innkeeper.wire.events import Event, EventKind, Json, Publish
from innkeeper.wire.guest_facts import Ability, WaitingUpdate
from innkeeper.wire.plurals import counted

#: Whose name the operations bear that a schedule starts.
OWNER: Final = "schedule"
#: How often the progress of an operation is passed on.
_LOOK_SECONDS: Final = 1.0

#: The operations on disks; their data is the disk's path, or a JSON object with it.
COMPACT_DISK: Final = "{6F1D2A10-8C0E-4E7B-9C55-1B1F0E5A0020}"
MERGE_DISK: Final = "{6F1D2A10-8C0E-4E7B-9C55-1B1F0E5A0021}"
#: Booking an update; its data is a JSON object.
BOOK_UPDATE: Final = "{6F1D2A10-8C0E-4E7B-9C55-1B1F0E5A0030}"
#: Asking a guest which updates wait; its data is the machine's name.
SCAN: Final = "{6F1D2A10-8C0E-4E7B-9C55-1B1F0E5A0031}"
#: How long a guest's agent may take to be there.
_AGENT_SECONDS: Final = 60.0
#: So many packages are named in the words of a scan.
_MOST_NAMED: Final = 20

_ON_MACHINES: Final = frozenset({SCAN, *(command.class_id.upper() for command in Command)})

_DISK_DATA: Final = 'the disk\'s path, or {"path": …, "free_blocks": true}'
_MERGE_DATA: Final = "the path of a differencing disk, which is merged into its parent"
_BOOKING_DATA: Final = (
    '{"machine": …, "label": …, "identifier": …}; also "start", "end" and "deadline", each a duration '
    'from now such as "PT8H" or a moment, and "context", text (or "context_base64")'
)
_LONGEST_DATA: Final = 64 << 10


def operations(
    *,
    machines: Machines,
    tasks: Tasks,
    clock: Clock,
    disks: Disks,
    bookings: Bookings,
    agents: GuestAgents,
    publish: Publish,
) -> Handlers:
    """Return all operations, as handlers by class id.

    A name means the same to them whoever starts the task: nothing depends on what that one may see.
    """
    handlers = Handlers()
    for command in Command:
        handlers.add(command.class_id, _on_machine(command, machines, tasks))

    async def compact(data: Mapping[str, object]) -> Task:
        return await disks.compact(
            _text(data, "path"), owner=OWNER, free_blocks=data.get("free_blocks") is True
        )

    async def merge(data: Mapping[str, object]) -> Task:
        return await disks.merge(_text(data, "path"), owner=OWNER)

    for class_id, name, start, words in (
        (COMPACT_DISK, "compact_disk", compact, _DISK_DATA),
        (MERGE_DISK, "merge_disk", merge, _MERGE_DATA),
    ):
        handlers.add(class_id, _on_disk(name, start, words, tasks))

    async def book(status: TaskHandlerStatus, data: str) -> None:
        with seeing(None):
            booking = await _book(bookings, clock, data)
        status.update_status(100, f"{booking} is booked")

    async def scan(status: TaskHandlerStatus, data: str) -> None:
        with seeing(None):
            machine = await machines.get(data.strip())
        status.update_status(0, f"asking {machine.title} which updates are available")
        found = await _scanned(agents, machine)
        status.update_status(100, _words(found))
        told: dict[str, Json] = {"count": len(found), "packages": [each.name for each in found[:_MOST_NAMED]]}
        told["security"] = sum(each.security is True for each in found)
        publish(Event(kind=EventKind.UPDATE_SCANNED, subject=machine.key, at=clock.now(), data=told))

    handlers.register(BOOK_UPDATE, "book_update", book, _booking_by_key)
    handlers.register(SCAN, "scan", scan, _by_key)
    return handlers


def machine_of(definition: TaskDefinition) -> str:
    """Return the machine that a task's first operation on one is about, as it names it; empty for none."""
    named = (_machine_named(each) for each in definition.actions if isinstance(each, ComHandlerAction))
    return next((machine for machine in named if machine), "")


def machines_of(definition: TaskDefinition) -> Sequence[str]:
    """Return all machines that a task's operations are about, without those that its start will name."""
    named = (_machine_named(each) for each in definition.actions if isinstance(each, ComHandlerAction))
    return [*dict.fromkeys(machine for machine in named if machine and "$" not in machine)]


def _machine_named(action: ComHandlerAction) -> str:
    class_id, data = (action.class_id or "").upper(), (action.data or "").strip()
    if class_id == BOOK_UPDATE:
        with contextlib.suppress(InnkeeperError):
            return str(_object(data).get("machine") or "")
    return data if class_id in _ON_MACHINES else ""


def _by_key(data: str, keys: Mapping[str, str]) -> str:
    return keys.get(data.strip(), data)


def _booking_by_key(text: str, keys: Mapping[str, str]) -> str:
    data = _object(text)
    named = data.get("machine")
    return json.dumps({**data, "machine": keys[named]}) if isinstance(named, str) and named in keys else text


class OperationHandler:
    """Starts an operation, follows it to its end, and passes on its progress."""

    def __init__(self, start: Callable[[str], Awaitable[Task]], tasks: Tasks) -> None:
        self._start = start
        self._tasks = tasks
        self._task: int | None = None

    async def start(self, status: TaskHandlerStatus, data: str) -> None:
        """Start the operation and wait for its end, even where it can no longer be cancelled."""
        starting = asyncio.ensure_future(self._start(data))
        try:
            task = await asyncio.shield(starting)
        except asyncio.CancelledError:
            # It may have been written down already: then it is cancelled, and not left behind.
            await asyncio.shield(self._stopped((await starting).id))
            raise
        self._task = task.id
        status.update_status(0, f"{task.description} (task {task.id})")
        try:
            while not await self._tasks.wait(task.id, _LOOK_SECONDS):
                task = await self._tasks.get(task.id)
                if task.progress.percent is not None:
                    status.update_status(task.progress.percent, task.progress.phase or task.description)
        except asyncio.CancelledError:
            # What is past its point of no return comes to its end, whoever asks it to stop.
            await asyncio.shield(self._stopped(task.id))
            raise
        ended = await self._tasks.get(task.id)
        if ended.result is not TaskResult.SUCCESS:
            raise ScheduleError(
                ended.error_description or "The operation was cancelled.",
                code=_code(ended.error),
                advice=f"See innkeeper task show {ended.id}.",
            )

    async def stop(self) -> int:
        """Cancel the operation and wait for the cancel's effect."""
        if self._task is not None:
            await self._stopped(self._task)
        return ErrorCode.S_OK

    async def pause(self) -> None:
        """Refuse to pause: an operation holds its machine or disk."""
        raise not_pausable()

    async def resume(self) -> None:
        """Refuse to resume, as ``pause`` does."""
        raise not_pausable()

    async def _stopped(self, task: int) -> None:
        with contextlib.suppress(TaskNotCancelable):
            await self._tasks.cancel(task)
        await self._tasks.wait(task)


def _on_machine(command: Command, machines: Machines, tasks: Tasks) -> Operation:
    async def begin(data: str) -> Task:
        with seeing(None):
            return await machines.command(data.strip(), command, owner=OWNER)

    return Operation(
        name=command,
        make=lambda: OperationHandler(begin, tasks),
        data="the machine's name",
        by_keys=_by_key,
    )


def _on_disk(
    name: str, start: Callable[[Mapping[str, object]], Awaitable[Task]], words: str, tasks: Tasks
) -> Operation:
    async def begin(data: str) -> Task:
        return await start(_object(data) if data.lstrip().startswith("{") else {"path": data.strip()})

    return Operation(name=name, make=lambda: OperationHandler(begin, tasks), data=words)


async def _book(bookings: Bookings, clock: Clock, text: str) -> str:
    data, now = _object(text), clock.now()
    booking = await bookings.book(
        _text(data, "machine"),
        label=_text(data, "label", "Scheduled update"),
        identifier=_text(data, "identifier", f"schedule-{now:%Y-%m-%dT%H-%M-%S}"),
        start=_moment(data, "start", now),
        end=_moment(data, "end", now),
        deadline=_moment(data, "deadline", now),
        context=_context(data),
        booked_by=OWNER,
    )
    return f"{booking.label} ({booking.identifier}) for {booking.machine}"


async def _scanned(agents: GuestAgents, machine: Machine) -> Sequence[WaitingUpdate]:
    agent = await agents.connected(machine.key, timeout=_AGENT_SECONDS)
    if not agent.knows(Ability.SCAN):
        raise NotSupported(
            f"The task agent of {machine.title} cannot list the available updates.",
            advice=f"Install the present agent: innkeeper machine prepare {machine.title} --force",
        )
    return await agent.scan()


def _words(found: Sequence[WaitingUpdate]) -> str:
    named = [f"{each.name} {each.installed} → {each.available}" for each in found[:_MOST_NAMED]]
    more = len(found) - len(named)
    listed = ", ".join(named) + (f", and {more} more" if more else "")
    return f"{counted(len(found), 'update')} available: {listed}" if found else "no update is available"


def _object(text: str) -> Mapping[str, object]:
    try:
        found = json.loads(text) if len(text) <= _LONGEST_DATA else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _refused("it is not a JSON object", text)
    return found


def _text(data: Mapping[str, object], name: str, default: str | None = None) -> str:
    found = data.get(name, default)
    if not isinstance(found, str) or not found:
        raise _refused(f"“{name}” is missing", json.dumps(dict(data))[:200])
    return found


def _moment(data: Mapping[str, object], name: str, now: dt.datetime) -> dt.datetime | None:
    """Parse a duration from now, or a moment with its offset."""
    found = data.get(name)
    if found is None:
        return None
    try:
        if str(found).startswith("P"):
            return now + Duration(str(found)).nominal
        moment = dt.datetime.fromisoformat(str(found))
    except ValueError as problem:
        raise _refused(f"“{name}” is neither a duration nor a moment", str(found)) from problem
    if moment.tzinfo is None:
        raise _refused(f"“{name}” has no offset such as Z or +01:00", str(found))
    return moment


def _context(data: Mapping[str, object]) -> bytes:
    if "context_base64" in data:
        try:
            return base64.b64decode(str(data["context_base64"]), validate=True)
        except (binascii.Error, ValueError) as problem:
            raise _refused("“context_base64” is not Base64", str(data["context_base64"])) from problem
    found = data.get("context", "")
    return (found if isinstance(found, str) else json.dumps(found)).encode()


def _refused(sentence: str, value: str) -> InnkeeperError:
    return ScheduleError(
        f"The data of the action cannot be used: {sentence}.",
        code=ErrorCode.SCHED_E_INVALIDVALUE,
        advice=f"For a booking it is {_BOOKING_DATA}.",
        node="Data",
        value=value[:260],
    )


def _code(error: int) -> ErrorCode:
    try:
        return ErrorCode(error) if error else ErrorCode.E_FAIL
    except ValueError:
        return ErrorCode.E_FAIL
