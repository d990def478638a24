"""Under the service, operations on disks are durable tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from innkeeper import disks
from innkeeper.disks.roots import Roots
from innkeeper.disks.work import WORKS, works_within
from innkeeper.errors import DiskError, ErrorCode
from innkeeper.tasks.clock import SystemClock
from innkeeper.tasks.memory_engine import MemoryEngine
from innkeeper.tasks.memory_store import MemoryTaskStore
from innkeeper.tasks.running import TaskCancelled
from innkeeper.tasks.service import Tasks
from innkeeper.tasks.task import CancelEffect, LogLevel, TaskResult
from innkeeper.wire.events import Json

SIZE = 8 << 20


class Crash(Exception):
    """The service dies after a step's action and before its result is recorded."""


class TaskContext:
    """The hand of a task, whose journal outlives a crash."""

    id = 1
    resumed = False

    def __init__(self, *, crash_in: str = "", cancelled: bool = False) -> None:
        self.journal: dict[str, Json] = {}
        self.crash_in = crash_in
        self.cancel_requested = cancelled
        self.effects: list[CancelEffect] = []
        self.reports: list[tuple[int | None, int | None]] = []
        self.lines: list[str] = []

    async def step(self, name: str, action: Callable[[], Awaitable[Json]]) -> Json:
        """Do it once for good."""
        if name not in self.journal:
            result = await action()
            if name == self.crash_in:
                self.crash_in = ""
                raise Crash
            self.journal[name] = result
        return self.journal[name]

    def report(
        self,
        phase: str | None = None,
        *,
        number: int | None = None,
        count: int | None = None,
        percent: int | None = None,
        bytes_done: int | None = None,
        bytes_total: int | None = None,
    ) -> None:
        """Remember the bytes."""
        self.reports.append((bytes_done, bytes_total))

    def log(self, text: str, level: LogLevel = LogLevel.INFO) -> None:
        """Remember it."""
        self.lines.append(text)

    async def set_cancel_effect(self, effect: CancelEffect) -> None:
        """Remember it."""
        self.effects.append(effect)

    host = None

    def end_with(self, writing: Awaitable[object]) -> None:
        """Never: disks write with no task's end."""
        raise AssertionError

    def on_cancel(self, call: Callable[[], None]) -> None:
        """Never: disks look whether a cancel was asked for."""
        raise AssertionError

    async def cancelled(self) -> None:
        """Never wait."""


@pytest.fixture
def child(tmp_path: Path) -> Path:
    """Make a child with data over a parent with data."""
    disks.create_dynamic(tmp_path / "p.vhd", SIZE)
    with disks.open(tmp_path / "p.vhd", writable=True) as disk:
        disk.pwrite(b"p" * 5000, 100)
    disks.create_differencing(tmp_path / "c.vhd", tmp_path / "p.vhd")
    with disks.open(tmp_path / "c.vhd", writable=True) as disk:
        disk.pwrite(b"c" * 5000, 3000)
    with disks.open(tmp_path / "c.vhd") as disk:
        disk.merge_to(tmp_path / "flat.vhd", "dynamic")
    return tmp_path / "c.vhd"


async def start_of(path: Path) -> bytes:
    """Read the start of a disk, away from the event loop."""

    def read() -> bytes:
        with disks.open(path) as disk:
            return disk.pread(8000, 0)

    return await asyncio.to_thread(read)


EXPECTED = bytes(100) + b"p" * 2900 + b"c" * 5000


def arguments(child: Path) -> dict[str, tuple[dict[str, Json], Path]]:
    """Say for each kind of task what to start it with, and which disk has the result."""
    folder = child.parent
    path = str(child)
    return {
        "disk_create": (
            {"path": f"{folder}/n.vhd", "kind": "differencing", "parent": path},
            folder / "n.vhd",
        ),
        "disk_compact": ({"path": path}, child),
        "disk_convert": ({"path": path, "target": f"{folder}/n.vhd", "kind": "fixed"}, folder / "n.vhd"),
        "disk_merge": ({"path": path}, folder / "p.vhd"),
        "disk_merge_to": ({"path": path, "target": f"{folder}/n.vhd", "kind": "dynamic"}, folder / "n.vhd"),
        "disk_resize": ({"path": f"{folder}/flat.vhd", "size_bytes": 2 * SIZE}, folder / "flat.vhd"),
        "disk_check": ({"path": path, "deep": True}, child),
        "disk_repair": ({"path": path}, child),
    }


@pytest.mark.parametrize("kind", sorted(WORKS))
@pytest.mark.parametrize("crash_in", ["", "look", "make", "merge", "compact", "resize", "check", "repair"])
async def test_a_step_that_a_crash_cut_off_may_be_done_again(child: Path, kind: str, crash_in: str) -> None:
    """Every kind ends with the same disk, though its step was done and not recorded."""
    argument, result = arguments(child)[kind]
    hand = TaskContext(crash_in=crash_in)
    try:
        await WORKS[kind](hand, argument)
    except Crash:
        await WORKS[kind](hand, argument)
    assert await start_of(result) == EXPECTED
    assert not child.with_name("p.vhd.merging").exists()


async def test_a_name_that_is_taken_ends_the_task(child: Path) -> None:
    """A target that was there before the task began is an error, not the result of a crash."""
    argument, result = arguments(child)["disk_convert"]
    result.write_text("mine")
    with pytest.raises(DiskError) as refused:
        await WORKS["disk_convert"](TaskContext(), argument)
    assert refused.value.code == ErrorCode.ERROR_ALREADY_EXISTS
    assert result.read_text() == "mine"


async def test_a_path_is_absolute() -> None:
    """A path that depends on where the service runs is refused as documented."""
    with pytest.raises(DiskError) as refused:
        await WORKS["disk_compact"](TaskContext(), {"path": "d.vhd"})
    assert refused.value.code == ErrorCode.ERROR_BAD_PATHNAME


@pytest.mark.parametrize("kind", ["disk_compact", "disk_convert", "disk_merge", "disk_merge_to"])
async def test_a_cancel_takes_the_stated_effect(child: Path, kind: str) -> None:
    """A task cancelled before its point of no return leaves the disks as they were."""
    argument, result = arguments(child)[kind]
    with pytest.raises(TaskCancelled):
        await WORKS[kind](TaskContext(cancelled=True), argument)
    assert result.exists() == (kind in {"disk_compact", "disk_merge"})
    assert await start_of(child) == EXPECTED


async def test_a_merge_says_when_it_can_only_be_finished(child: Path) -> None:
    """Past the point of no return the task states that a cancel has no effect, before the first byte."""
    hand = TaskContext()
    await WORKS["disk_merge"](hand, {"path": str(child)})
    assert hand.effects == [CancelEffect.NONE]


async def test_a_cancel_that_comes_at_the_point_of_no_return_is_heard(child: Path) -> None:
    """The merge asks once more after no further cancel is taken, and leaves no journal."""

    class Late(TaskContext):
        async def set_cancel_effect(self, effect: CancelEffect) -> None:
            """The cancel was taken just before."""
            self.cancel_requested = True

    with pytest.raises(TaskCancelled):
        await WORKS["disk_merge"](Late(), {"path": str(child)})
    assert not child.with_name("p.vhd.merging").exists()
    assert await start_of(child) == EXPECTED


@pytest.mark.parametrize("kind", ["disk_convert", "disk_merge_to"])
@pytest.mark.parametrize("target_kind", ["fixed", "dynamic", "raw", "qcow2"])
async def test_a_cancel_that_comes_while_all_is_stored_is_heard(
    child: Path, kind: str, target_kind: str
) -> None:
    """The image gets its name only when no cancel was asked for, and from then on none is taken."""

    class Late(TaskContext):
        async def set_cancel_effect(self, effect: CancelEffect) -> None:
            """The cancel was taken just before."""
            await super().set_cancel_effect(effect)
            self.cancel_requested = True

    target = child.with_name("late.img")
    hand = Late()
    argument: dict[str, Json] = {"path": str(child), "target": str(target), "kind": target_kind}
    with pytest.raises(TaskCancelled):
        await WORKS[kind](hand, argument)
    assert hand.effects[-1] is CancelEffect.NONE
    assert not list(child.parent.glob("late*"))


async def test_a_service_that_goes_down_leaves_its_operations(child: Path) -> None:
    """The thread ends as at a crash, and the step done again ends the work."""
    hand, target = TaskContext(), child.with_name("n.vhd")
    argument: dict[str, Json] = {"path": str(child), "target": str(target), "kind": "fixed"}

    async def cut(name: str, action: Callable[[], Awaitable[Json]]) -> Json:
        if name == "look":
            return await action()
        step = asyncio.ensure_future(action())
        await asyncio.sleep(0)
        step.cancel()
        with pytest.raises(asyncio.CancelledError):
            await step
        raise Crash

    cutting = TaskContext()
    cutting.step = cut  # type: ignore[method-assign]
    with pytest.raises(Crash):
        await WORKS["disk_convert"](cutting, argument)
    await WORKS["disk_convert"](hand, argument | {"target": str(child.with_name("m.vhd"))})
    assert await start_of(child.with_name("m.vhd")) == EXPECTED


async def test_a_check_tells_its_findings_in_the_log(child: Path) -> None:
    """Each with the identifier and the block, so that a client can read it again."""
    hand = TaskContext()
    child.with_name("p.vhd").unlink()
    await WORKS["disk_check"](hand, {"path": str(child)})
    assert f"[parent {ErrorCode.VM_E_PARENT_PATH_NOT_FOUND:#010x}]" in hand.lines[0]
    assert hand.lines[-1] == "1 found."


async def test_a_work_of_the_service_looks_again_where_its_paths_end(child: Path, tmp_path: Path) -> None:
    """A folder that became a link after the task was started leads nowhere."""
    inside = tmp_path / "inside"
    inside.mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    works = works_within(Roots([inside]))
    (inside / "folder").symlink_to(outside)
    argument: dict[str, Json] = {
        "path": str(inside / "folder" / "n.vhd"), "kind": "dynamic", "size_bytes": SIZE,
    }  # fmt: skip
    with pytest.raises(DiskError) as refused:
        await works["disk_create"](TaskContext(), argument)
    assert refused.value.code is ErrorCode.ERROR_BAD_PATHNAME
    assert not list(outside.iterdir())


async def test_a_task_of_the_service_shows_bytes_and_ends(child: Path) -> None:
    """Started by the tasks service, a conversion ends as a success with its bytes told."""
    tasks = Tasks(
        store=MemoryTaskStore(), engine=MemoryEngine(), clock=SystemClock(), publish=lambda event: None
    )
    for kind, work in WORKS.items():
        tasks.register(kind, work)
    await tasks.launch()
    argument, result = arguments(child)["disk_convert"]
    task = await tasks.start("disk_convert", "Convert c.vhd", argument)
    assert await tasks.wait(task.id, 30)
    ended = await tasks.get(task.id)
    assert ended.result is TaskResult.SUCCESS
    assert ended.progress.bytes_done == ended.progress.bytes_total == SIZE
    refused = await tasks.start("disk_merge", "Merge p.vhd", {"path": str(child.with_name("p.vhd"))})
    assert await tasks.wait(refused.id, 30)
    assert (await tasks.get(refused.id)).error == ErrorCode.VM_E_WRONG_HD_IMAGE_TYPE
    await tasks.close()
    assert result.exists()
