"""Endings of tasks, from what their work raised."""

from __future__ import annotations

import dataclasses

from innkeeper.errors import DiskError, ErrorCode, InnkeeperError, InvalidArgument
from innkeeper.tasks.outcome import bare
from innkeeper.tasks.running import TaskCancelled
from innkeeper.tasks.task import CancelEffect, TaskResult

#: Codes that say more than the class of the error that carries them.
_RESULT_BY_CODE = {
    ErrorCode.E_OUTOFMEMORY: TaskResult.OUT_OF_MEMORY_ERROR,
    ErrorCode.VM_E_OUT_OF_RESOURCE: TaskResult.OUT_OF_MEMORY_ERROR,
    ErrorCode.ERROR_DISK_FULL: TaskResult.DISK_RELATED_ERROR,
    ErrorCode.VM_E_DRIVE_INVALID: TaskResult.DISK_RELATED_ERROR,
    ErrorCode.VM_E_PARENT_PATH_NOT_FOUND: TaskResult.DISK_RELATED_ERROR,
    ErrorCode.VM_E_FILE_TOO_LARGE_FOR_VOLUME: TaskResult.DISK_RELATED_ERROR,
    ErrorCode.VM_E_FILE_READ_ONLY: TaskResult.DISK_RELATED_ERROR,
    ErrorCode.VM_E_WRONG_HD_IMAGE_TYPE: TaskResult.DISK_RELATED_ERROR,
    ErrorCode.VM_E_HD_IMAGE_OPEN_FAIL: TaskResult.DISK_RELATED_ERROR,
    ErrorCode.VM_E_HD_IMAGE_ACCESS: TaskResult.DISK_RELATED_ERROR,
    ErrorCode.VM_E_INVALID_HD_FILE: TaskResult.DISK_RELATED_ERROR,
    ErrorCode.VM_E_IMAGE_SIZE_TOO_LARGE: TaskResult.DISK_RELATED_ERROR,
    ErrorCode.VM_E_IMAGE_SIZE_TOO_SMALL: TaskResult.DISK_RELATED_ERROR,
    ErrorCode.VM_E_PARENT_CHILD_ID_MISMATCH: TaskResult.DISK_RELATED_ERROR,
    ErrorCode.VM_E_UNSUPPORTED_HD_DISK_TYPE: TaskResult.DISK_RELATED_ERROR,
    ErrorCode.VM_E_PARENT_MODIFIED: TaskResult.DISK_RELATED_ERROR,
    ErrorCode.ERROR_REVISION_MISMATCH: TaskResult.INCOMPATIBLE_SAVED_STATE_ERROR,
    ErrorCode.ERROR_TIMEOUT: TaskResult.TIME_OUT_ERROR,
    ErrorCode.VM_E_TIMED_OUT: TaskResult.TIME_OUT_ERROR,
    ErrorCode.VM_E_PREF_ILLEGAL_VALUE: TaskResult.ILLEGAL_VALUE_ERROR,
    # The guest refused to go down, or somebody in it did.
    ErrorCode.E_ABORT: TaskResult.SHUTDOWN_ABORT,
    ErrorCode.ERROR_CANCELLED: TaskResult.CANCELLED,
}

_RESULT_BY_CLASS: tuple[tuple[type[Exception], TaskResult], ...] = (
    (DiskError, TaskResult.DISK_RELATED_ERROR),
    (InvalidArgument, TaskResult.ILLEGAL_VALUE_ERROR),
    (InnkeeperError, TaskResult.UNEXPECTED_ERROR),
)

_CANCELLED = {
    CancelEffect.NONE: "It was cancelled.",
    CancelEffect.BACK_TO_START: "It was cancelled, and everything is as it was before.",
    CancelEffect.STOPS_RESUMABLE: "It was cancelled where it was, and can be resumed.",
}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How a task ended."""

    result: TaskResult
    #: The documented identifier of the error, 0 where there is none.
    error: int = 0
    #: The error in a sentence for a person, and what to do next.
    error_description: str = ""


SUCCESS = Ending(result=TaskResult.SUCCESS)


def ending_of(exc: Exception, effect: CancelEffect) -> Ending:
    """How a task ends whose work raised ``exc`` while a cancel would have had ``effect``."""
    exc = bare(exc)
    if isinstance(exc, TaskCancelled):
        text = str(exc) or _CANCELLED[effect]
        return Ending(
            result=TaskResult.CANCELLED, error=int(ErrorCode.ERROR_CANCELLED), error_description=text
        )
    if isinstance(exc, InnkeeperError):
        return Ending(
            result=_result_of(exc),
            error=exc.hresult,
            error_description=f"{exc.sentence} {exc.advice}".strip(),
        )
    if isinstance(exc, MemoryError):
        return Ending(
            result=TaskResult.OUT_OF_MEMORY_ERROR,
            error=int(ErrorCode.E_OUTOFMEMORY),
            error_description="The host had no memory left for it.",
        )
    return crashed()


def crashed() -> Ending:
    """How a task ends whose own code broke: the details are for the log, not for the message."""
    return Ending(
        result=TaskResult.THREAD_CRASH_ERROR,
        error=int(ErrorCode.E_UNEXPECTED),
        error_description=(
            "Innkeeper itself failed while the task ran: this is a fault of "
            "the program. See the service's log."
        ),
    )


def _result_of(exc: InnkeeperError) -> TaskResult:
    by_code = _RESULT_BY_CODE.get(exc.code)
    if by_code is not None:
        return by_code
    return next(result for kind, result in _RESULT_BY_CLASS if isinstance(exc, kind))
