"""Run the long operations on disks as durable tasks.

Each kind of task is a thin shell: the operation runs in a thread of its own, its progress goes to the task,
and the task's cancel goes to it. A step that a crash cut off is done again, so each looks first whether it
was done already.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from innkeeper.disks.allowed import only_within
from innkeeper.disks.check import Finding, check
from innkeeper.disks.compact import compact
from innkeeper.disks.convert import convert
from innkeeper.disks.create import create_differencing, create_dynamic, create_fixed
from innkeeper.disks.disk import open as open_disk
from innkeeper.disks.kind import Kind
from innkeeper.disks.merge import merge
from innkeeper.disks.paths import already_there
from innkeeper.disks.progress import Cancelled, Watch
from innkeeper.disks.repair import repair
from innkeeper.disks.resize import resize
from innkeeper.disks.roots import Roots
from innkeeper.errors import DiskError, ErrorCode, InvalidArgument
from innkeeper.tasks.running import RunningTask, TaskCancelled, Work
from innkeeper.tasks.task import CancelEffect, LogLevel
from innkeeper.wire.events import Json

T = TypeVar("T")

#: Disks are moved two at a time: more would only fight for the host's disk.
_threads = concurrent.futures.ThreadPoolExecutor(max_workers=2, thread_name_prefix="disks")


#: Seconds between two words of an operation to its task.
_TELL_SECONDS = 0.1


class TaskWatch:
    """Passes between an operation's thread and its task."""

    def __init__(
        self, running: RunningTask, loop: asyncio.AbstractEventLoop, phases: Sequence[str] = ()
    ) -> None:
        """``phases``: those that the operation goes through, in order; one where nothing is said."""
        self._running = running
        self._loop = loop
        self._phases = tuple(phases) or ("",)
        self._cannot_stop = False
        self._suspended = False
        self._told_at = 0.0

    def advance(self, phase: str, done: int, total: int) -> None:
        """Report to the task, in the loop's own thread, now and then."""
        if self._suspended:
            raise Suspended
        if done >= total or time.monotonic() - self._told_at >= _TELL_SECONDS:
            self._told_at = time.monotonic()
            self._loop.call_soon_threadsafe(self._report, phase, done, total)

    def cancel_requested(self) -> bool:
        """Whether the task was asked to stop."""
        return self._running.cancel_requested and not self._cannot_stop

    def past_return(self) -> None:
        """Record durably that no cancel helps any more, before the operation goes on.

        A cancel that came until then is heard: it raises ``Cancelled``.
        """
        asyncio.run_coroutine_threadsafe(self._close_the_way_back(), self._loop).result()
        if self._running.cancel_requested and not self._cannot_stop:
            raise Cancelled("The operation was cancelled.", path="")
        self._cannot_stop = True

    def suspend(self) -> None:
        """Stop the operation where it is: the service ends, and resumes it at its next start."""
        self._suspended = True

    async def _close_the_way_back(self) -> None:
        await self._running.set_cancel_effect(CancelEffect.NONE)

    def _report(self, phase: str, done: int, total: int) -> None:
        behind = self._phases.index(phase) if phase in self._phases else 0
        share = (behind + (min(done / total, 1) if total else 1)) / len(self._phases)
        self._running.report(
            phase,
            number=behind + 1,
            count=len(self._phases),
            percent=int(100 * share),
            bytes_done=done,
            bytes_total=total,
        )


class Suspended(Exception):
    """The operation stops as by a crash, because the service ends."""


async def _do(
    running: RunningTask,
    name: str,
    operation: Callable[[Watch], T],
    phases: Sequence[str] = (),
    then: Callable[[T], None] = lambda _done: None,
) -> None:
    """Run an operation in a thread, as one step of the task; ``then`` gets its result in the loop."""
    loop = asyncio.get_running_loop()
    watch = TaskWatch(running, loop, phases)
    # The folders to which the work is confined go with it into its thread.
    context = contextvars.copy_context()

    async def step() -> Json:
        try:
            then(await loop.run_in_executor(_threads, context.run, operation, watch))
        except asyncio.CancelledError:
            watch.suspend()
            raise
        return None

    try:
        await running.step(name, step)
    except Cancelled as exc:
        raise TaskCancelled from exc


async def _make(
    running: RunningTask, target: Path, operation: Callable[[Watch], object], phases: Sequence[str]
) -> None:
    """Run an operation that makes a file which must not be there before, and look first.

    That it was not there is a step of its own: if it is there when the making is done again after a crash,
    it was made whole, as nothing gets its name before it is.
    """

    async def look() -> Json:
        if await asyncio.to_thread(target.exists):
            raise already_there(target)
        return None

    def make(watch: Watch) -> None:
        if not target.exists():
            operation(watch)

    await running.step("look", look)
    await _do(running, "make", make, phases)


async def create_work(running: RunningTask, argument: Mapping[str, Json]) -> None:
    """Make a disk: ``path``, ``kind`` and ``size_bytes`` or ``parent``."""
    path, kind = _path(argument, "path"), Kind(_text(argument, "kind"))
    parent = _path(argument, "parent") if kind is Kind.DIFFERENCING else path

    def create(watch: Watch) -> None:
        if kind is Kind.DIFFERENCING:
            create_differencing(path, parent)
        elif kind is Kind.FIXED:
            create_fixed(path, _number(argument, "size_bytes"), watch=watch)
        else:
            create_dynamic(path, _number(argument, "size_bytes"))

    await _make(running, path, create, ("reserving",))


async def compact_work(running: RunningTask, argument: Mapping[str, Json]) -> None:
    """Compact the disk at ``path``; ``free_blocks`` drops what the guest's file systems do not use.

    Doing it again does no harm, and a cancel leaves a whole disk.
    """
    path = _path(argument, "path")
    free_blocks = argument.get("free_blocks") is True
    await running.set_cancel_effect(CancelEffect.STOPS_RESUMABLE)
    await _do(
        running,
        "compact",
        lambda watch: compact(path, watch=watch, free_blocks=free_blocks),
        ("looking for zeros", "moving blocks"),
        lambda saved: running.log(f"{saved:,} bytes given back to the host."),
    )


async def convert_work(running: RunningTask, argument: Mapping[str, Json]) -> None:
    """Convert the image at ``path`` to a new one at ``target``; raw ones need ``source_kind``."""
    path, target = _path(argument, "path"), _path(argument, "target")
    kind = Kind(_text(argument, "kind"))
    given = argument.get("source_kind")
    source_kind = Kind(given) if isinstance(given, str) else None
    ignore_time = argument.get("ignore_parent_time") is True
    await _make(
        running,
        target,
        lambda watch: convert(
            path, target, kind, source_kind=source_kind, watch=watch, ignore_parent_time=ignore_time
        ),
        _phases_to(kind),
    )


async def merge_to_work(running: RunningTask, argument: Mapping[str, Json]) -> None:
    """Write the differencing disk at ``path`` with its parents to a new one at ``target`` of ``kind``."""
    path, target = _path(argument, "path"), _path(argument, "target")
    kind = Kind(_text(argument, "kind"))
    ignore_time = argument.get("ignore_parent_time") is True

    def merge_to(watch: Watch) -> None:
        with open_disk(path, ignore_parent_time=ignore_time) as disk:
            disk.merge_to(target, kind, watch=watch)

    await _make(running, target, merge_to, _phases_to(kind))


def _phases_to(kind: Kind) -> Sequence[str]:
    if kind is Kind.FIXED:
        return ("reserving", "copying")
    return ("copying",) if kind.is_vhd or kind is Kind.RAW else ("converting",)


async def merge_work(running: RunningTask, argument: Mapping[str, Json]) -> None:
    """Merge the differencing disk at ``path`` into its parent.

    That the child is there is a step of its own: if it is gone when the merge is done again after a crash,
    the merge was finished.
    """
    path = _path(argument, "path")
    keep_child = argument.get("keep_child") is True
    ignore_time = argument.get("ignore_parent_time") is True

    async def look() -> Json:
        return await asyncio.to_thread(path.exists)

    was_there = await running.step("look", look)

    def finish(watch: Watch) -> Path | None:
        if path.exists() or not was_there:
            return merge(path, watch=watch, keep_child=keep_child, ignore_parent_time=ignore_time)
        return None

    def log_result(parent: Path | None) -> None:
        running.log(f"{parent} holds everything now." if parent else "The parent holds everything now.")

    await _do(running, "merge", finish, ("merging",), log_result)


async def resize_work(running: RunningTask, argument: Mapping[str, Json]) -> None:
    """Give the disk at ``path`` another size, ``size_bytes``; again, it finds that it has it."""
    path, size = _path(argument, "path"), _number(argument, "size_bytes")
    lose_data = argument.get("lose_data") is True
    await _do(running, "resize", lambda _watch: resize(path, size, lose_data=lose_data))


async def check_work(running: RunningTask, argument: Mapping[str, Json]) -> None:
    """Check the disk at ``path``; what is found goes to the task's log, one line each."""
    path, deep = _path(argument, "path"), argument.get("deep") is True

    def log_result(findings: Sequence[Finding]) -> None:
        for finding in findings:
            running.log(finding.as_line(), LogLevel.INFO if finding.is_harmless else LogLevel.WARNING)
        running.log(f"{len(findings)} found." if findings else "Nothing is wrong.")

    await _do(running, "check", lambda watch: check(path, deep=deep, watch=watch), ("reading",), log_result)


async def repair_work(running: RunningTask, argument: Mapping[str, Json]) -> None:
    """Repair the disk at ``path``; each change goes to the task's log, one line each.

    ``size_bytes`` is the size of a fixed disk that lost its footer.
    """
    path, deep = _path(argument, "path"), argument.get("deep") is True
    size = None if argument.get("size_bytes") is None else _number(argument, "size_bytes")

    def log_result(done: Sequence[str]) -> None:
        for sentence in done or ["There was nothing to repair."]:
            running.log(sentence)

    await _do(
        running,
        "repair",
        lambda watch: repair(path, deep=deep, size_bytes=size, watch=watch),
        ("reading",),
        log_result,
    )


#: The kinds of task of this room.
WORKS: Mapping[str, Work] = {
    "disk_check": check_work,
    "disk_repair": repair_work,
    "disk_resize": resize_work,
    "disk_create": create_work,
    "disk_compact": compact_work,
    "disk_convert": convert_work,
    "disk_merge": merge_work,
    "disk_merge_to": merge_to_work,
}


def works_within(roots: Roots) -> Mapping[str, Work]:
    """Return the same works, each checking again that its paths end in the folders of the service."""
    return {kind: _within(roots, work) for kind, work in WORKS.items()}


def _within(roots: Roots, work: Work) -> Work:
    async def guarded(running: RunningTask, argument: Mapping[str, Json]) -> None:
        def look() -> None:
            for name in PATHS:
                if isinstance(path := argument.get(name), str):
                    roots.check_chain(roots.resolve(path))

        await asyncio.to_thread(look)
        with only_within(roots.allowed):
            await work(running, argument)

    return guarded


#: The arguments that are paths.
PATHS = ("path", "target", "parent")


def _path(argument: Mapping[str, Json], name: str) -> Path:
    """Take a path as documented, absolute: the service's own folder means nothing to a client."""
    path = Path(_text(argument, name))
    if not path.is_absolute():
        raise DiskError(
            f"{path}: the path is not absolute.",
            path=str(path),
            code=ErrorCode.ERROR_BAD_PATHNAME,
            advice="Give the whole path.",
        )
    return path


def _text(argument: Mapping[str, Json], name: str) -> str:
    value = argument.get(name)
    if not isinstance(value, str):
        raise InvalidArgument(f"A disk task needs {name}.")
    return value


def _number(argument: Mapping[str, Json], name: str) -> int:
    value = argument.get(name)
    if not isinstance(value, int):
        raise InvalidArgument(f"A disk task needs {name}.")
    return value
