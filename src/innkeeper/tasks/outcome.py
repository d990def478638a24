"""Results of steps as JSON: a value, or the error that was raised."""

from __future__ import annotations

import asyncio
import json
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog

from innkeeper import errors
from innkeeper.errors import ErrorCode, InnkeeperError, NewerVersion
from innkeeper.tasks.running import TaskCancelled
from innkeeper.wire.descriptors import is_shortage, tell_shortage
from innkeeper.wire.events import Json

#: A step's record: ``{"value": …}``, ``{"error": {…}}`` or ``INTERRUPTED``.
Record = Mapping[str, Json]

#: The body cancelled the step and went on without it, as a time-out does.
INTERRUPTED: Final[Record] = {"interrupted": True}

_log = structlog.get_logger(__name__)


class StepFailed(Exception):
    """A step raised an error that is none of Innkeeper's; only its text outlives a crash."""


class JournalMismatch(Exception):
    """The body asked for another step than its journal holds: its code has changed under a live run."""


class LeftUnfinished(asyncio.CancelledError):
    """A newer version of Innkeeper wrote what the run needs: it is left as it is, for that version to end.

    A cancellation, since that is what no body catches and no journal records.
    """


class StepTurn:
    """Lets the steps of one run be taken one after the other, as its journal needs them."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._holder: asyncio.Task[object] | None = None

    async def __aenter__(self) -> None:
        if self._holder is not None and self._holder is asyncio.current_task():
            raise RuntimeError("A step was started inside another step, and would wait for itself for ever.")
        await self._lock.acquire()
        self._holder = asyncio.current_task()

    async def __aexit__(self, *exc: object) -> None:
        self._holder = None
        self._lock.release()


def traceback_of(error: BaseException) -> str:
    """The traceback as text, for a log; the words alone of a want of descriptors, which hits anybody."""
    if is_shortage(error):
        tell_shortage()
        return str(error)
    return "".join(traceback.format_exception(error))


async def attempt(action: Callable[[], Awaitable[Json]]) -> tuple[Record, Exception | None]:
    """Do ``action``; returns its record, and the live error where it raised one.

    A cancellation passes: whether it is the body's own or the end of the service shows only when the body
    goes on, or does not. So does what a newer version has written (``LeftUnfinished``): it must not be
    recorded as the run's end.
    """
    try:
        return {"value": as_json(await action())}, None
    except NewerVersion as newer:
        _log.warning("engine.run_left", error=newer.sentence, advice=newer.advice)
        raise LeftUnfinished(f"{newer.sentence} {newer.advice}") from newer
    except Exception as exc:  # the record must hold whatever the step raised, so that a replay raises it too
        error = bare(exc)
        return {"error": _describe(error)}, error


def bare(exc: Exception) -> Exception:
    """The error itself, where a task group has wrapped it all alone."""
    while isinstance(exc, ExceptionGroup) and len(exc.exceptions) == 1:
        exc = exc.exceptions[0]
    return exc


async def replay(record: Record) -> Json:
    """The value that was recorded; raises the error that was recorded.

    An interrupted step does not return: what interrupted it (a cancel that was asked for, a deadline that
    has passed) does so again.
    """
    if "interrupted" in record:
        await asyncio.get_running_loop().create_future()
    if "error" in record:
        description = record["error"]
        assert isinstance(description, Mapping)
        raise _rebuild(description)
    return record["value"]


def as_json(value: Json) -> Json:
    """``value`` as a reader of the journal will see it; raises ``TypeError`` where it is not JSON."""
    result: Json = json.loads(json.dumps(value))
    return result


def _describe(exc: Exception) -> Json:
    if isinstance(exc, InnkeeperError):
        return {"class": type(exc).__name__, "text": str(exc), "fields": _fields(exc)}
    if isinstance(exc, TaskCancelled):
        return {"class": "TaskCancelled", "text": str(exc), "fields": {}}
    return {"class": "StepFailed", "text": f"{type(exc).__name__}: {exc}", "fields": {}}


def _fields(exc: InnkeeperError) -> Json:
    """Return what the error carries; a value that is not JSON is kept as its text."""
    result: Json = json.loads(json.dumps(vars(exc), default=str))
    return result


def _rebuild(description: Mapping[str, Json]) -> Exception:
    name, text, fields = description["class"], str(description["text"]), description["fields"]
    assert isinstance(name, str)
    assert isinstance(fields, Mapping)
    if name == "TaskCancelled":
        return TaskCancelled(text)
    kind = getattr(errors, name, None)
    if not (isinstance(kind, type) and issubclass(kind, InnkeeperError)):
        return StepFailed(text)
    return _rebuild_ours(kind, text, fields)


def _rebuild_ours(kind: type[InnkeeperError], text: str, fields: Mapping[str, Json]) -> InnkeeperError:
    error = kind.__new__(kind, text)
    error.args = (text,)
    vars(error).update(fields)
    error.code = ErrorCode(error.code)
    return error
