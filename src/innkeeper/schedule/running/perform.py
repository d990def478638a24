"""Do one action of a task."""

from __future__ import annotations

import asyncio
import dataclasses
import shlex
from collections.abc import Callable, Mapping
from typing import Final, Protocol, TypeVar

from innkeeper.errors import ErrorCode, MachineNotFound, NotSupported, ScheduleError
from innkeeper.schedule import mail_server
from innkeeper.schedule.model.actions import (
    Action,
    ComHandlerAction,
    EmailAction,
    ExecAction,
    ShowMessageAction,
)
from innkeeper.schedule.ports import Messages, Secrets
from innkeeper.schedule.running import email, process
from innkeeper.schedule.running.handlers import Handlers
from innkeeper.schedule.running.process import Program
from innkeeper.schedule.running.variables import replaced
from innkeeper.tasks.running import RunningTask
from innkeeper.tasks.task import LogLevel
from innkeeper.wire.plurals import counted

A = TypeVar("A", bound=Action)


class Pausable(Protocol):
    """Work that can stand still, or that says that it cannot."""

    async def pause(self) -> None: ...

    async def resume(self) -> None: ...


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What an action is done with."""

    context: RunningTask
    handlers: Handlers
    #: The values of ``$(Name)``.
    values: Mapping[str, str]
    #: The account to run programs as; the service's own where ``None``.
    user: str | None
    #: What does not stop when asked may be killed.
    kill: bool
    #: 0 (highest) to 10.
    priority: int = 7
    secrets: Secrets | None = None
    messages: Messages | None = None
    #: Called with what can be paused, each time that some work has begun.
    under_way: Callable[[Pausable], None] = lambda work: None
    #: Called the moment that an action has begun, or may have.
    on_start: Callable[[], None] = lambda: None
    #: A file that the first program makes by itself.
    sign: bytes | None = None
    #: The keys of the machines that the task names, by what it calls them.
    machines: Mapping[str, str] = dataclasses.field(default_factory=dict)


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
            return await _mail(_filled(action, setting.values), setting)
        case ShowMessageAction():
            return await _show(_filled(action, setting.values), setting)
    raise NotSupported(f"An action of the kind {action.tag} cannot be done here.")


async def _exec(action: ExecAction, setting: Setting) -> int:
    # Split first, replace then: a value with a space or a quote stays one word, whatever it holds.
    try:
        words = shlex.split(action.arguments or "")
    except ValueError as problem:
        raise ScheduleError(
            f"The arguments cannot be separated: {problem}.",
            code=ErrorCode.SCHED_E_INVALIDVALUE,
            node="Arguments",
            value=action.arguments or "",
        ) from problem
    directory = action.working_directory and replaced(action.working_directory, setting.values)
    argv = [action.path or "", *(replaced(word, setting.values) for word in words)]
    program = Program(argv=argv, directory=directory, user=setting.user, priority=setting.priority)
    return await _run(program, setting)


async def _mail(action: EmailAction, setting: Setting) -> int:
    server = mail_server.parse(action.server or "")
    attachments = await email.attached(action.attachments, setting.user)
    message = await asyncio.to_thread(email.composed, action, attachments)
    setting.on_start()
    await email.send(server, message, setting.secrets)
    setting.context.log(f"The e-mail was sent through {server.host}.")
    return 0


async def _run(program: Program, setting: Setting) -> int:
    running = await process.start(
        program, lambda line: setting.context.log(line, LogLevel.OUTPUT), setting.on_start, setting.sign
    )
    setting.under_way(running)
    try:
        return await running.wait()
    except asyncio.CancelledError:
        await asyncio.shield(running.stop(kill=setting.kill))
        raise


async def _handle(action: ComHandlerAction, setting: Setting) -> int:
    status = _Status(setting.context)
    operation = setting.handlers.find(action.class_id or "")
    data = operation.by_keys(replaced(action.data or "", setting.values), setting.machines)
    handler = operation.make()
    setting.under_way(handler)
    try:
        await handler.start(status, data)
    except MachineNotFound as error:
        named = next((named for named, key in setting.machines.items() if key == error.machine), None)
        if named is None:
            raise
        raise _gone(named) from error
    return status.result


def _gone(named: str) -> MachineNotFound:
    return MachineNotFound(
        f"The machine that was “{named}” when the task was registered is not there any more.",
        machine=named,
        advice="Register the task again for the machine that it is to work on.",
    )


async def _show(action: ShowMessageAction, setting: Setting) -> int:
    if setting.messages is None:
        raise NotSupported("Messages to who is logged on are not available here.")
    setting.on_start()
    shown = await setting.messages.show(action.title or "", action.message_body or "", None)
    if not shown:
        raise ScheduleError(
            "Nobody is logged on who could see the message.",
            code=ErrorCode.SCHED_E_USER_NOT_LOGGED_ON,
            node="ShowMessage",
        )
    setting.context.log(f"The message was shown to {counted(shown, 'session')}.")
    return 0


#: Whoever may start a task must not choose to which server its password goes.
_TRUSTED: Final = frozenset({"server"})


class _Status:
    """What a handler tells goes to the task's own progress."""

    def __init__(self, context: RunningTask) -> None:
        self._hand = context
        self.result = 0

    def update_status(self, percent: int, message: str) -> None:
        self._hand.report(message, percent=max(0, min(100, percent)))

    def task_completed(self, result: int) -> None:
        self.result = result


def _filled(action: A, values: Mapping[str, str]) -> A:
    """The action with the values in all its texts, but for who is given a secret."""
    changes = {
        field.name: replaced(response, values)
        for field in dataclasses.fields(action)
        if field.name not in _TRUSTED and isinstance(response := getattr(action, field.name), str)
    }
    return dataclasses.replace(action, **changes)  # type: ignore[arg-type]  # texts for texts
