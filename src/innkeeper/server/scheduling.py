"""Put the scheduler on top of tasks and machines."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from innkeeper.errors import ErrorCode, ScheduleError
from innkeeper.machines.service import Machines
from innkeeper.schedule.calendar.directory import CalendarDirectory
from innkeeper.schedule.calendar.host import host_zone
from innkeeper.schedule.computer import LinuxAccounts, LinuxConditions
from innkeeper.schedule.handlers import Handler, Handlers, TaskHandlerStatus
from innkeeper.schedule.instance import Instances
from innkeeper.schedule.ports import ScheduleStore
from innkeeper.schedule.registry import Registry
from innkeeper.schedule.scheduler import Scheduler
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.service import Tasks
from innkeeper.tasks.task import Task, TaskResult

#: Whose name the operations on machines bear that a schedule starts.
_OWNER: Final = "schedule"

#: The class ids of Innkeeper's own operations on machines; each is given the machine's name as data.
MACHINE_OPERATIONS: Final = {
    "startup": "{6F1D2A10-8C0E-4E7B-9C55-1B1F0E5A0001}",
    "save": "{6F1D2A10-8C0E-4E7B-9C55-1B1F0E5A0002}",
    "shut_down": "{6F1D2A10-8C0E-4E7B-9C55-1B1F0E5A0003}",
    "turn_off": "{6F1D2A10-8C0E-4E7B-9C55-1B1F0E5A0004}",
    "merge_undo_disks": "{6F1D2A10-8C0E-4E7B-9C55-1B1F0E5A0005}",
    "discard_undo_disks": "{6F1D2A10-8C0E-4E7B-9C55-1B1F0E5A0006}",
}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Scheduling:
    """The scheduler's two halves: what is registered, and what starts it."""

    registry: Registry
    scheduler: Scheduler
    handlers: Handlers


def scheduling(
    *, store: ScheduleStore, tasks: Tasks, machines: Machines, clock: Clock, state_dir: Path
) -> Scheduling:
    """The scheduler of this service; its calendars are the files in ``calendars`` of the state directory."""
    accounts, calendars, home = LinuxAccounts(), CalendarDirectory(state_dir / "calendars"), host_zone()
    handlers = machine_handlers(machines, tasks)
    instances = Instances(
        store=store, clock=clock, accounts=accounts, conditions=LinuxConditions(), handlers=handlers
    )
    return Scheduling(
        registry=Registry(store=store, accounts=accounts, calendars=calendars, clock=clock, home=home),
        scheduler=Scheduler(
            store=store, tasks=tasks, instances=instances, calendars=calendars, clock=clock, home=home
        ),
        handlers=handlers,
    )


def machine_handlers(machines: Machines, tasks: Tasks) -> Handlers:
    """The operations on machines, as handlers by class id."""
    starts: dict[str, Callable[..., Awaitable[Task]]] = {
        "startup": machines.startup,
        "save": machines.save,
        "shut_down": machines.shut_down,
        "turn_off": machines.turn_off,
        "merge_undo_disks": machines.merge_undo_disks,
        "discard_undo_disks": machines.discard_undo_disks,
    }
    handlers = Handlers()
    for name, start in starts.items():
        handlers.register(MACHINE_OPERATIONS[name], name, _following(start, tasks))
    return handlers


def _following(start: Callable[..., Awaitable[Task]], tasks: Tasks) -> Handler:
    """A handler that starts an operation on the machine named in its data, and follows it to its end."""

    async def handler(status: TaskHandlerStatus, data: str) -> None:
        task = await start(data.strip(), owner=_OWNER)
        status.update_status(0, f"{task.description} (task {task.id})")
        await tasks.wait(task.id)
        ended = await tasks.get(task.id)
        if ended.result is not TaskResult.SUCCESS:
            raise ScheduleError(
                ended.error_description or "The operation was cancelled.", code=ErrorCode.E_FAIL
            )

    return handler
