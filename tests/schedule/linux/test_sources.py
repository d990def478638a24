"""A Linux computer tells of its starts, its load and its journal; what it cannot tell, it says."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from innkeeper.schedule.linux.boot import Boots
from innkeeper.schedule.linux.idle import Idleness
from innkeeper.schedule.linux.journalctl import Journal
from innkeeper.schedule.memory_store import MemoryScheduleStore
from innkeeper.tasks.clock import FakeClock, SystemClock

CALM = "some avg10=0.00 avg60=0.00 avg300=0.50 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n"


async def heard(source, count: int = 1, *, clock: FakeClock | None = None, seconds: float = 0.0):
    """The first occasions that a source tells of, within five seconds."""
    found = []
    enough = asyncio.Event()

    async def tell(occasion) -> None:
        found.append(occasion)
        if len(found) >= count:
            enough.set()

    running = asyncio.create_task(source.run(tell))
    try:
        if clock is not None:
            await clock.advance(seconds)
        await asyncio.wait_for(enough.wait(), 5.0) if count else await asyncio.sleep(0)
    finally:
        running.cancel()
        await asyncio.wait([running])
    return found


# Starts of the computer


async def test_a_boot_is_told_once_however_often_the_service_starts(tmp_path: Path) -> None:
    """And again after the computer has started anew."""
    store, clock, file = MemoryScheduleStore(), FakeClock(), tmp_path / "boot_id"
    file.write_text("b1\n")

    def source():
        return Boots(store=store, clock=clock, computer="host-1", boot_id=file)

    (occasion,) = await heard(source())
    assert occasion.key == "boot:b1"
    assert await heard(source(), 0, clock=clock, seconds=1) == []
    file.write_text("b2\n")
    assert [each.key for each in await heard(source())] == ["boot:b2"]


async def test_a_boot_that_nobody_was_told_of_is_told_again(tmp_path: Path) -> None:
    """The crash came before it was remembered."""
    store, file = MemoryScheduleStore(), tmp_path / "boot_id"
    file.write_text("b1")
    source = Boots(store=store, clock=FakeClock(), computer="host-1", boot_id=file)

    async def broken(occasion) -> None:
        raise OSError("killed")

    with pytest.raises(OSError, match="killed"):
        await source.run(broken)
    assert len(await heard(source)) == 1


async def test_a_kernel_without_boot_ids_says_so(tmp_path: Path) -> None:
    """The source ends, and tells why."""
    source = Boots(store=MemoryScheduleStore(), clock=FakeClock(), computer="h", boot_id=tmp_path / "none")
    assert await heard(source, 0, clock=FakeClock(), seconds=0) == []
    while not source.missing:
        await source.run(None)
    assert "boot's id" in source.missing


# Idleness


def proc(root, *, load: str = "0.01", cpu: str = CALM, io: str = CALM):
    (root / "pressure").mkdir(exist_ok=True)
    (root / "loadavg").write_text(f"0.00 {load} 0.00 1/100 1\n")
    (root / "pressure" / "cpu").write_text(cpu)
    (root / "pressure" / "io").write_text(io)
    return root


def test_idle_is_no_load_no_waiting_and_nobody_there(tmp_path: Path) -> None:
    """Each of them alone keeps the computer from being idle."""
    waits = CALM.replace("avg300=0.50", "avg300=3.00")
    assert Idleness(clock=FakeClock(), proc=proc(tmp_path)).is_idle() is True
    assert Idleness(clock=FakeClock(), proc=tmp_path, people=lambda: True).is_idle() is True
    assert Idleness(clock=FakeClock(), proc=tmp_path, people=lambda: False).is_idle() is False
    assert Idleness(clock=FakeClock(), proc=proc(tmp_path, load="99.0")).is_idle() is False
    assert Idleness(clock=FakeClock(), proc=proc(tmp_path, io=waits)).is_idle() is False
    (tmp_path / "pressure" / "io").unlink()
    assert Idleness(clock=FakeClock(), proc=tmp_path).is_idle() is True
    (tmp_path / "loadavg").unlink()
    unknown = Idleness(clock=FakeClock(), proc=tmp_path)
    assert unknown.is_idle() is None
    assert "load" in unknown.missing


def test_idleness_ends_where_somebody_comes_or_things_wait_for_the_processor(tmp_path: Path) -> None:
    """Load alone ends nothing: the task that was started makes some."""
    idle = Idleness(clock=FakeClock(), proc=proc(tmp_path, load="99.0"))
    assert not idle.is_busy()
    proc(
        tmp_path, cpu=CALM.replace("avg10=0.00 avg60=0.00 avg300=0.50", "avg10=55.00 avg60=1.00 avg300=0.50")
    )
    assert idle.is_busy()
    assert Idleness(clock=FakeClock(), proc=proc(tmp_path), people=lambda: False).is_busy()


async def test_becoming_idle_is_told_and_being_idle_is_not(tmp_path: Path) -> None:
    """Idle from the start is nothing new; idle after work is."""
    clock = FakeClock()
    proc(tmp_path)
    found = []

    async def tell(occasion) -> None:
        found.append(occasion.at)

    running = asyncio.create_task(Idleness(clock=clock, proc=tmp_path).run(tell))
    for load in ("0.01", "99.0", "99.0", "0.01", "0.01", "99.0", "0.01"):
        proc(tmp_path, load=load)
        await stepped(clock, 30)
    running.cancel()
    assert len(found) == 2


async def stepped(clock: FakeClock, seconds: float) -> None:
    """Let the clock go on from one look, each of them in a thread, to the next."""
    await sleeping(clock)
    await clock.advance(seconds)
    await sleeping(clock)


async def sleeping(clock: FakeClock) -> None:
    while clock.next_waking is None:
        await asyncio.sleep(0.005)


# The journal


def lines(*entries: bytes) -> list[str]:
    """A program that prints these lines and stays, as journalctl does."""
    message = b"\n".join((*entries, b""))
    huge = "said.replace(b'HUGE', b'x' * (2 << 20))"
    code = f"import sys, time; said = {message!r}; sys.stdout.buffer.write({huge}); sys.stdout.flush()"
    return [sys.executable, "-c", code + "; time.sleep(60)"]


def entry(cursor: str, **fields) -> bytes:
    return json.dumps({"__CURSOR": cursor, "MESSAGE": "hello", **fields}).encode()


def directory(root):
    (root / "machine").mkdir()
    (root / "machine" / "system.journal").write_text("")
    return [root]


async def everything() -> frozenset[str]:
    return frozenset({"journal"})


async def test_entries_are_told_as_they_come(tmp_path: Path) -> None:
    """What is no entry, or is longer than any, is passed over."""
    command = lines(entry("s=1"), b"no json", entry("s=2", LONG="HUGE"), entry("s=3"))
    source = Journal(everything, clock=SystemClock(), command=command, directories=directory(tmp_path))
    first, second = await heard(source, 2)
    assert first.record.channels == {"journal", "system"}
    assert first.key != second.key
    assert source.missing == ""


async def test_nothing_runs_while_nobody_listens(tmp_path: Path) -> None:
    """The journal is followed from the moment that a task listens to it."""
    wanted: set[str] = set()

    async def channels():
        return frozenset(wanted)

    clock = FakeClock()
    source = Journal(channels, clock=clock, command=lines(entry("s=1")), directories=directory(tmp_path))
    found = []

    async def tell(occasion) -> None:
        found.append(occasion)

    running = asyncio.create_task(source.run(tell))
    await stepped(clock, 20)
    assert found == []
    wanted.add("system")
    for _ in range(200):
        await stepped(clock, 5)
        if found:
            break
    running.cancel()
    await asyncio.wait([running])
    assert len(found) == 1


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["/no/such/journalctl"], "No such file"),
        ([sys.executable, "-c", "import sys; sys.exit('denied')"], "denied"),
    ],
)
async def test_a_journal_that_cannot_be_read_says_why(tmp_path: Path, command: list[str], words: str) -> None:
    """In the words of who refused."""
    source = Journal(everything, clock=SystemClock(), command=command, directories=directory(tmp_path))
    running = asyncio.create_task(source.run(None))
    deadline = asyncio.get_running_loop().time() + 5
    while words not in source.missing and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.wait([running])
    assert words in source.missing


async def test_a_computer_without_a_journal_says_so(tmp_path: Path) -> None:
    """Instead of waiting for it, as journalctl would."""
    source = Journal(everything, clock=FakeClock(), directories=[tmp_path])
    running = asyncio.create_task(source.run(None))
    while source.missing != "there is no journal of systemd on this computer":
        await asyncio.sleep(0.005)
    running.cancel()
    await asyncio.wait([running])
