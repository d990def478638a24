"""Run the long operations on disks as durable tasks.

Each kind of task is a thin shell: the operation runs in a thread of its own, its progress goes to the task,
and the task's cancel goes to it. A step that a crash cut off is done again, so each looks first whether it
was done already.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Mapping
from pathlib import Path

from innkeeper.disks.compact import compact
from innkeeper.disks.convert import convert
from innkeeper.disks.create import create_differencing, create_dynamic, create_fixed
from innkeeper.disks.disk import open as open_disk
from innkeeper.disks.kind import Kind
from innkeeper.disks.merge import merge
from innkeeper.disks.paths import already_there
from innkeeper.disks.progress import Cancelled, Watch
from innkeeper.errors import DiskError, ErrorCode, InvalidArgument
from innkeeper.tasks.running import RunningTask, TaskCancelled, Work
from innkeeper.tasks.task import CancelEffect
from innkeeper.wire.events import Json

#: Disks are moved two at a time: more would only fight for the host's disk.
_threads = concurrent.futures.ThreadPoolExecutor(max_workers=2, thread_name_prefix="disks")


class TaskWatch:
    """Passes between an operation's thread and its task."""

    def __init__(self, running: RunningTask, loop: asyncio.AbstractEventLoop) -> None:
        self._running = running
        self._loop = loop
        self._cannot_stop = False

    def advance(self, phase: str, done: int, total: int) -> None:
        """Report to the task, in the loop's own thread."""
        self._loop.call_soon_threadsafe(self._report, phase, done, total)

    def cancel_requested(self) -> bool:
        """Whether the task was asked to stop."""
        return self._running.cancel_requested and not self._cannot_stop

    def past_return(self) -> None:
        """Say durably that no cancel helps any more, before the operation goes on."""
        self._cannot_stop = True
        asyncio.run_coroutine_threadsafe(self._close_the_way_back(), self._loop).result()

    async def _close_the_way_back(self) -> None:
        await self._running.set_cancel_effect(CancelEffect.NONE)

    def _report(self, phase: str, done: int, total: int) -> None:
        self._running.report(phase, bytes_done=done, bytes_total=total)


async def _do(running: RunningTask, name: str, operation: Callable[[Watch], object]) -> None:
    """Run an operation in a thread, as one step of the task."""
    loop = asyncio.get_running_loop()
    watch = TaskWatch(running, loop)

    async def step() -> Json:
        await loop.run_in_executor(_threads, operation, watch)
        return None

    try:
        await running.step(name, step)
    except Cancelled as exc:
        raise TaskCancelled from exc


async def _make(running: RunningTask, target: Path, operation: Callable[[Watch], object]) -> None:
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
    await _do(running, "make", make)


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

    await _make(running, path, create)


async def compact_work(running: RunningTask, argument: Mapping[str, Json]) -> None:
    """Compact the disk at ``path``; ``free_blocks`` drops what the guest's file systems do not use.

    Doing it again does no harm, and a cancel leaves a whole disk.
    """
    path = _path(argument, "path")
    free_blocks = argument.get("free_blocks") is True
    await running.set_cancel_effect(CancelEffect.STOPS_RESUMABLE)
    await _do(running, "compact", lambda watch: compact(path, watch=watch, free_blocks=free_blocks))


async def convert_work(running: RunningTask, argument: Mapping[str, Json]) -> None:
    """Convert the image at ``path`` to a new one at ``target``; raw ones need ``source_kind``."""
    path, target = _path(argument, "path"), _path(argument, "target")
    kind = Kind(_text(argument, "kind"))
    given = argument.get("source_kind")
    source_kind = Kind(given) if isinstance(given, str) else None
    await _make(
        running, target, lambda watch: convert(path, target, kind, source_kind=source_kind, watch=watch)
    )


async def merge_to_work(running: RunningTask, argument: Mapping[str, Json]) -> None:
    """Write the differencing disk at ``path`` with its parents to a new one at ``target`` of ``kind``."""
    path, target = _path(argument, "path"), _path(argument, "target")
    kind = _text(argument, "kind")

    def merge_to(watch: Watch) -> None:
        with open_disk(path) as disk:
            disk.merge_to(target, kind, watch=watch)

    await _make(running, target, merge_to)


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

    def finish(watch: Watch) -> None:
        if path.exists() or not was_there:
            merge(path, watch=watch, keep_child=keep_child, ignore_parent_time=ignore_time)

    await _do(running, "merge", finish)


#: The kinds of task of this room.
WORKS: Mapping[str, Work] = {
    "disk_create": create_work,
    "disk_compact": compact_work,
    "disk_convert": convert_work,
    "disk_merge": merge_work,
    "disk_merge_to": merge_to_work,
}


def _path(argument: Mapping[str, Json], name: str) -> Path:
    """Take a path as documented, absolute: the service's own folder means nothing to who asks."""
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
