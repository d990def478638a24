"""Exit codes, and which one a command ends with."""

from __future__ import annotations

import enum
from collections.abc import Iterable

from innkeeper import errors
from innkeeper.errors import ErrorCode, InnkeeperError
from innkeeper.wire.states import TaskResult


class ExitCode(enum.IntEnum):
    """How a command ended, for scripts."""

    meaning: str

    def __new__(cls, value: int, meaning: str) -> ExitCode:
        """Keep each number with its sentence, which the reference prints."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    DONE = 0, "Done as asked."
    FAILED = 1, "A task ended with an error, or something failed that no other code stands for."
    USAGE = 2, "The command or a value in it is not valid; nothing was changed."
    NOT_THERE = 3, "No machine, task, update or window of this name."
    REFUSED = (
        4,
        "Not in this state: the machine is busy, unfit or in another state, or the task past its cancel.",
    )
    NO_SERVICE = 5, "The service is not running, or cannot be reached."
    NOT_PERMITTED = 6, "You are not allowed to do this."
    CANCELLED = 7, "The task was cancelled, and its stated effect has taken place."
    TIME_OUT = 8, "The time given with --timeout ran out; the task goes on."
    INTERRUPTED = 130, "Interrupted (Ctrl-C). A task that was started goes on."


#: The exit code of each class of error; a class that is not here ends as the one above it.
BY_ERROR: dict[type[InnkeeperError], ExitCode] = {
    errors.InnkeeperError: ExitCode.FAILED,
    errors.InvalidArgument: ExitCode.USAGE,
    errors.NotPermitted: ExitCode.NOT_PERMITTED,
    errors.ServiceError: ExitCode.NO_SERVICE,
    errors.TaskNotFound: ExitCode.NOT_THERE,
    errors.TaskNotCancelable: ExitCode.REFUSED,
    errors.MachineError: ExitCode.REFUSED,
    errors.MachineNotFound: ExitCode.NOT_THERE,
    errors.AgentError: ExitCode.FAILED,
    errors.UpdateError: ExitCode.REFUSED,
    errors.BookingNotFound: ExitCode.NOT_THERE,
}

#: Identifiers that say more than the class.
BY_CODE: dict[ErrorCode, ExitCode] = {
    ErrorCode.ERROR_NOT_FOUND: ExitCode.NOT_THERE,
    ErrorCode.ERROR_BUSY: ExitCode.REFUSED,
    ErrorCode.ERROR_SHARING_VIOLATION: ExitCode.REFUSED,
    ErrorCode.ERROR_FILE_NOT_FOUND: ExitCode.NOT_THERE,
    ErrorCode.ERROR_CANCELLED: ExitCode.CANCELLED,
    ErrorCode.ERROR_REVISION_MISMATCH: ExitCode.REFUSED,
    ErrorCode.SCHED_E_ACCOUNT_DBASE_CORRUPT: ExitCode.REFUSED,
}


def of_error(error: InnkeeperError) -> ExitCode:
    """The exit code for an error."""
    if error.code in BY_CODE:
        return BY_CODE[error.code]
    return next(BY_ERROR[kind] for kind in type(error).__mro__ if kind in BY_ERROR)


#: From the best to the worst: what went wrong is worse than what was refused or taken back.
_WORSE = (
    ExitCode.DONE,
    ExitCode.CANCELLED,
    ExitCode.TIME_OUT,
    ExitCode.USAGE,
    ExitCode.NOT_THERE,
    ExitCode.REFUSED,
    ExitCode.NOT_PERMITTED,
    ExitCode.NO_SERVICE,
    ExitCode.FAILED,
    ExitCode.INTERRUPTED,
)


def worst(codes: Iterable[ExitCode]) -> ExitCode:
    """The exit code of several tasks: that of the one that ended worst."""
    return max(codes, key=_WORSE.index, default=ExitCode.DONE)


def of_result(result: TaskResult | None) -> ExitCode:
    """The exit code for the result of a task."""
    if result is TaskResult.SUCCESS:
        return ExitCode.DONE
    return ExitCode.CANCELLED if result is TaskResult.CANCELLED else ExitCode.FAILED
