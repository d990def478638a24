"""A machine goes back to its running moment by hand, whatever is killed meanwhile."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from innkeeper.errors import ErrorCode, MachineError, MachineUnfit
from innkeeper.machines.machine import MachineState
from innkeeper.machines.undo.fitness import UndoRules, plan_undo_point
from innkeeper.machines.undo.memory import MemoryPoint, MemoryRules, noted_memory, plan_memory
from innkeeper.machines.undo.point import UndoPoint
from innkeeper.machines.undo.undoable import existing_plan
from innkeeper.tasks.task import Task, TaskResult
from innkeeper.wire.commands import Command
from tests.updates.dying_engine import DyingEngine, Moment
from tests.updates.inn import Inn

_RUN = 77
_STEPS = (
    "plan",
    "Discarding the undo disks",
    "Bringing the memory back",
    "Going on from the running moment",
)


async def _keep_moment(inn: Inn, *, memory: bool = True) -> tuple[str, str]:
    """A running machine on undo disks, as a run that needs help leaves it; its boot, and its definition."""
    machine = await inn.add(MachineState.RUNNING)
    definition = await inn.host.definitions.read("web-1")
    found, rules = await inn.machine(), UndoRules()
    plan = await plan_undo_point(inn.host, found, _RUN, rules)
    undo = UndoPoint(inn.host, plan, clock=inn.clock)
    if memory:
        kept = await plan_memory(inn.host, found, plan, _RUN, MemoryRules(), rules)
        taking = asyncio.ensure_future(MemoryPoint(inn.host, kept, clock=inn.clock).take(undo))
        while not taking.done():
            await inn.pass_time()
        await taking
    else:
        await undo.take(freeze_seconds=0)
    return machine.boot_id, definition


async def _go_back(inn: Inn) -> Task:
    task = await inn.machines.command("web-1", Command.GO_BACK_TO_RUNNING, owner="ana")
    return await inn.ended(task.id)


async def test_it_goes_back_from_whatever_it_became(tmp_path: Path) -> None:
    """The guest has rebooted since; it is in its former boot again, and nothing is left over."""
    inn = Inn(tmp_path)
    await inn.open()
    boot, definition = await _keep_moment(inn)
    await inn.host.simulation.simulate("web-1", lambda machine, now: machine.reset(now))
    assert inn.host.simulation.machines["web-1"].boot_id != boot
    with pytest.raises(MachineError) as refused:
        await plan_undo_point(inn.host, await inn.machine(), _RUN + 1, UndoRules())
    assert "innkeeper machine undo web-1 --to-running" in refused.value.advice
    task = await _go_back(inn)
    assert (task.result, task.error_description) == (TaskResult.SUCCESS, "")
    machine = inn.host.simulation.machines["web-1"]
    assert (machine.state, machine.boot_id) == (MachineState.RUNNING, boot)
    assert inn.leftovers() == []
    assert await inn.host.definitions.read("web-1") == definition


@pytest.mark.parametrize("moment", Moment)
@pytest.mark.parametrize("step", _STEPS)
async def test_it_goes_back_whenever_the_service_dies(tmp_path: Path, step: str, moment: Moment) -> None:
    """Killed at every journalled step."""
    inn = Inn(tmp_path)
    engine = DyingEngine(inn.journal, inn.clock, step, moment)
    await inn.open(engine)
    boot, _ = await _keep_moment(inn)
    await inn.host.lifecycle.turn_off("web-1")
    task = await inn.machines.command("web-1", Command.GO_BACK_TO_RUNNING, owner="ana")
    for _ in range(2000):
        if engine.is_dead:
            break
        await inn.pass_time()
    assert engine.is_dead
    await inn.open()
    assert (await inn.ended(task.id)).result is TaskResult.SUCCESS
    machine = inn.host.simulation.machines["web-1"]
    assert (machine.state, machine.boot_id) == (MachineState.RUNNING, boot)
    assert inn.leftovers() == []


@pytest.mark.parametrize("memory", [False, True])
async def test_without_memory_that_fits_nothing_is_touched(tmp_path: Path, memory: bool) -> None:
    """It is refused in a sentence, and runs on."""
    inn = Inn(tmp_path)
    await inn.open()
    await _keep_moment(inn, memory=memory)
    if memory:
        path = Path(next(each for each in inn.leftovers() if ".memory." in each))
        path.write_bytes(path.read_bytes() + b"x")
    before = inn.host.simulation.machines["web-1"].boot_id
    task = await _go_back(inn)
    assert task.error == (ErrorCode.E_FAIL if memory else ErrorCode.ERROR_FILE_NOT_FOUND)
    assert "cannot go back to the running moment" in task.error_description
    assert inn.host.simulation.machines["web-1"].boot_id == before


@pytest.mark.parametrize("digest", [False, True])
async def test_memory_never_meets_a_disk_that_was_written_to(tmp_path: Path, digest: bool) -> None:
    """It is refused before anything is touched, also where the file looks as before and was read then."""
    inn = Inn(tmp_path)
    await inn.open()
    await _keep_moment(inn)
    if digest:
        await _note_digests(inn)
    disk = Path(inn.disk())
    before, looks = disk.read_bytes(), disk.stat()
    disk.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    if digest:
        os.utime(disk, ns=(looks.st_atime_ns, looks.st_mtime_ns))
    boot = inn.host.simulation.machines["web-1"].boot_id
    task = await _go_back(inn)
    assert task.error == ErrorCode.VM_E_PARENT_MODIFIED
    assert str(disk) in task.error_description
    assert inn.host.simulation.machines["web-1"].boot_id == boot
    # The way out: the former file again.
    disk.write_bytes(before)
    if digest:
        assert (await _go_back(inn)).result is TaskResult.SUCCESS


async def _note_digests(inn: Inn) -> None:
    """As a run does, when it has read the disks."""
    plan = await existing_plan(inn.host, await inn.machine())
    assert plan is not None
    noted = await noted_memory(inn.host, plan.disks[0].overlay, clock=inn.clock)
    assert noted is not None
    read = await UndoPoint(inn.host, plan, clock=inn.clock).record(read_up_to_bytes=1 << 20)
    await noted[0].note_bases(noted[1], read)


@pytest.mark.parametrize("command", [Command.MERGE_UNDO_DISKS, Command.DISCARD_UNDO_DISKS])
async def test_memory_goes_with_its_undo_disks(tmp_path: Path, command: Command) -> None:
    """Merged or discarded by hand, they leave no memory behind."""
    inn = Inn(tmp_path)
    await inn.open()
    await _keep_moment(inn)
    await inn.host.lifecycle.turn_off("web-1")
    task = await inn.machines.command("web-1", command, owner="ana")
    assert (await inn.ended(task.id)).result is TaskResult.SUCCESS
    assert inn.leftovers() == []


@pytest.mark.parametrize("command", [Command.MERGE_UNDO_DISKS, Command.DISCARD_UNDO_DISKS])
async def test_memory_of_a_renamed_machine_goes_with_its_undo_disks(tmp_path: Path, command: Command) -> None:
    """It is found by the undo disk's name, which stays."""
    inn = Inn(tmp_path)
    await inn.open()
    await _keep_moment(inn)
    await inn.host.lifecycle.turn_off("web-1")
    await inn.host.definitions.rename("web-1", "web-2")
    task = await inn.machines.command("web-2", command, owner="ana")
    assert (await inn.ended(task.id)).result is TaskResult.SUCCESS
    assert inn.leftovers() == []


async def test_a_renamed_machine_gets_its_memory_back_under_its_former_name(tmp_path: Path) -> None:
    """Under another it is refused before anything is given up, with the command that helps."""
    inn = Inn(tmp_path)
    await inn.open()
    boot, _ = await _keep_moment(inn)
    await inn.host.lifecycle.turn_off("web-1")
    await inn.host.definitions.rename("web-1", "web-2")
    task = await inn.machines.command("web-2", Command.GO_BACK_TO_RUNNING, owner="ana")
    task = await inn.ended(task.id)
    assert task.error == ErrorCode.ERROR_FILE_NOT_FOUND
    assert "its memory knows it as web-1" in task.error_description
    await inn.host.definitions.rename("web-2", "web-1")
    assert (await _go_back(inn)).result is TaskResult.SUCCESS
    assert inn.host.simulation.machines["web-1"].boot_id == boot
    assert inn.leftovers() == []


@pytest.mark.parametrize("part", ["memory", "memory-note"])
async def test_a_file_in_the_place_of_memory_is_never_deleted(tmp_path: Path, part: str) -> None:
    """It is refused when the undo point is planned, and when it is taken."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    found, rules = await inn.machine(), UndoRules()
    plan = await plan_undo_point(inn.host, found, _RUN, rules)
    kept = await plan_memory(inn.host, found, plan, _RUN, MemoryRules(), rules)
    file = Path(kept.path if part == "memory" else kept.note)
    file.write_text("precious")
    with pytest.raises(MachineUnfit, match=f"{part}.* is there already"):
        await plan_memory(inn.host, found, plan, _RUN, MemoryRules(), rules)
    with pytest.raises(MachineUnfit, match=f"{part}.* is there already"):
        await MemoryPoint(inn.host, kept, clock=inn.clock).take(UndoPoint(inn.host, plan, clock=inn.clock))
    assert file.read_text() == "precious"
