"""A guest is never left frozen by an undo point, and one that may be is named."""

from __future__ import annotations

import asyncio
from pathlib import Path

from innkeeper.errors import ErrorCode
from innkeeper.machines.machine import MachineState
from innkeeper.machines.thawing import Thawing
from innkeeper.tasks.task import TaskResult
from innkeeper.updates.booking import Verdict
from innkeeper.wire.events import EventKind
from tests.updates.inn import Inn


async def _log(inn: Inn, task_id: int) -> str:
    return "\n".join(line.text for line in await inn.tasks.log(task_id))


async def test_a_slow_hook_costs_the_freeze_and_nothing_else(tmp_path: Path) -> None:
    """The guest is thawed once its hook has ended, its disks are taken then, and the update is kept."""
    inn = Inn(tmp_path)
    await inn.open()
    machine = await inn.add(MachineState.RUNNING)
    machine.hook_seconds = 90
    task = await inn.ended((await inn.start()).id)
    assert task.result is TaskResult.SUCCESS, task.error_description
    assert (machine.frozen, machine.hook_until, machine.freezing_since) == (False, 0.0, 0)
    said = await _log(inn, task.id)
    assert "web-1 could not be frozen (its qemu-guest-agent has not done so within 30 seconds)" in said
    assert "The file systems of web-1 are frozen, or will be at any moment" in said
    assert "crash-consistent" in said


async def test_a_guest_that_may_not_be_frozen_gets_its_undo_point_without(tmp_path: Path) -> None:
    """Its agent has freezing and thawing forbidden, and says that it is thawed."""
    inn = Inn(tmp_path)
    await inn.open()
    machine = await inn.add(MachineState.RUNNING)
    machine.forbids_freezing = True
    task = await inn.ended((await inn.start()).id)
    assert task.result is TaskResult.SUCCESS, task.error_description
    assert machine.freezing_since == 0
    said = await _log(inn, task.id)
    assert "web-1 could not be frozen (qemu-guest-agent in web-1 has this command disabled.)" in said
    assert "crash-consistent" in said
    assert "or will be at any moment" not in said


async def test_a_guest_that_does_not_answer_is_named_and_thawed_whenever_it_does(tmp_path: Path) -> None:
    """Its run ends with its window, with nothing taken; no other is begun until the guest is thawed."""
    inn = Inn(tmp_path)
    await inn.open()
    machine = await inn.add(MachineState.RUNNING)
    machine.hook_seconds = 1500
    thawing = Thawing(machines=inn.machines, clock=inn.clock, publish=inn.publish)
    inn.hearers.append(thawing.on_event)
    running = asyncio.ensure_future(thawing.run())
    task = await inn.ended((await inn.start(window_seconds=600)).id)
    report = await inn.report(task.id)
    assert report.verdict is Verdict.NOT_STARTED
    assert any("web-1 are frozen, or will be at any moment" in reason for reason in report.reasons)
    assert inn.leftovers() == []

    second = await inn.ended((await inn.start(identifier="again")).id)
    assert (second.result, second.error) == (TaskResult.UNEXPECTED_ERROR, ErrorCode.ERROR_BUSY)
    for _ in range(20_000):
        if not machine.freezing_since:
            break
        await inn.pass_time()
    assert (machine.frozen, machine.hook_until, machine.freezing_since) == (False, 0.0, 0)
    assert [e.data["text"] for e in inn.events if e.kind is EventKind.MACHINE_NOT_THAWED]
    running.cancel()
