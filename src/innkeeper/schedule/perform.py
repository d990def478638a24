"""Do one action of a task."""

from __future__ import annotations

import asyncio
import dataclasses
import shlex
import shutil
from collections.abc import Callable, Mapping
from typing import TypeVar

from innkeeper.errors import ErrorCode, NotSupported, ScheduleError
from innkeeper.schedule import email, process
from innkeeper.schedule.actions import Action, ComHandlerAction, EmailAction, ExecAction, ShowMessageAction
from innkeeper.schedule.handlers import Handlers
from innkeeper.schedule.process import Program
from innkeeper.schedule.variables import replaced
from innkeeper.tasks.running import RunningTask
from innkeeper.tasks.task import LogLevel

A = TypeVar("A", bound=Action)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What an action is done with."""

    hand: RunningTask
    handlers: Handlers
    #: The values of ``$(Name)``.
    values: Mapping[str, str]
    #: The account to run programs as; the service's own where ``None``.
    user: str | None
    #: What does not stop when asked may be killed.
    kill: bool
    #: Called the moment that an action has begun, or may have.
    on_start: Callable[[], None] = lambda: None


async def perform(action: Action, setting: Setting) -> int:
    """Do an action; its exit code or result. Cancelling stops it, and what it has started.

    Raises ``InnkeeperError`` where it cannot be started.
    """
    match action:
        case ExecAction():
            return await _exec(action, setting)
        case ComHandlerAction():
            setting.on_start()
            return await _handle(action, setting)
        case EmailAction():
            ready = _filled(action, setting.values)
            message = await asyncio.to_thread(email.composed, ready)
            setting.on_start()
            await asyncio.to_thread(email.send, ready, message)
            return 0
        case ShowMessageAction():
            return await _show(_filled(action, setting.values), setting)
    raise NotSupported(f"There is no way to do a {action.tag} here.")


async def _exec(action: ExecAction, setting: Setting) -> int:
    # Split first, replace then: a value with a space or a quote stays one word, whatever it holds.
    try:
        words = shlex.split(action.arguments or "")
    except ValueError as problem:
        raise ScheduleError(
            f"The arguments cannot be told apart: {problem}.",
            code=ErrorCode.SCHED_E_INVALIDVALUE,
            node="Arguments",
            value=action.arguments or "",
        ) from problem
    directory = action.working_directory and replaced(action.working_directory, setting.values)
    argv = [action.path or "", *(replaced(word, setting.values) for word in words)]
    return await _run(Program(argv=argv, directory=directory, user=setting.user), setting)


async def _run(program: Program, setting: Setting) -> int:
    running = await process.start(
        program, lambda line: setting.hand.log(line, LogLevel.OUTPUT), setting.on_start
    )
    try:
        return await running.wait()
    except asyncio.CancelledError:
        await asyncio.shield(running.stop(kill=setting.kill))
        raise


async def _handle(action: ComHandlerAction, setting: Setting) -> int:
    status = _Status(setting.hand)
    data = replaced(action.data or "", setting.values)
    await setting.handlers.find(action.class_id or "")(status, data)
    return status.result


async def _show(action: ShowMessageAction, setting: Setting) -> int:
    wall = await asyncio.to_thread(shutil.which, "wall")
    if wall is None:
        raise NotSupported(
            "Messages to who is logged on are not available here.", advice="Install wall (package bsdutils)."
        )
    words = ": ".join(part for part in (action.title, action.message_body) if part)
    return await _run(Program(argv=[wall, words]), setting)


class _Status:
    """What a handler tells goes to the task's own progress."""

    def __init__(self, hand: RunningTask) -> None:
        self._hand = hand
        self.result = 0

    def update_status(self, percent: int, message: str) -> None:
        self._hand.report(message, percent=max(0, min(100, percent)))

    def task_completed(self, result: int) -> None:
        self.result = result


def _filled(action: A, values: Mapping[str, str]) -> A:
    """The action with the values in all its texts."""
    changes = {
        field.name: replaced(said, values)
        for field in dataclasses.fields(action)
        if isinstance(said := getattr(action, field.name), str)
    }
    return dataclasses.replace(action, **changes)  # type: ignore[arg-type]  # texts for texts
