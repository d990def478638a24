"""What a host's next owner, or the same under other names, makes of what was begun."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from innkeeper.machines.machine import MachineState
from innkeeper.tasks.task import TaskResult
from innkeeper.updates.booking import Verdict
from innkeeper.updates.stuck_bookings import settle_stuck_bookings
from tests.updates.inn import Inn


async def test_a_booking_whose_run_has_ended_without_a_word_gets_its_end(tmp_path: Path) -> None:
    """From the run's report where there is one; else a person is asked. What waits or runs is left alone."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    task = await inn.start()
    await inn.ended(task.id)
    ended = await inn.booking()
    stuck = dataclasses.replace(ended, verdict=None, reason="", task_id=task.id)
    for each in (
        stuck,
        dataclasses.replace(stuck, identifier="of another run"),
        dataclasses.replace(stuck, identifier="of a lost task", task_id=9999),
        dataclasses.replace(stuck, identifier="waits", task_id=None),
    ):
        await inn.booking_store.put(each)
    assert await settle_stuck_bookings(inn.bookings, inn.tasks, inn.reports) == 3
    assert {each.identifier: each.verdict for each in await inn.bookings.list()} == {
        stuck.identifier: Verdict.KEPT,
        "of another run": Verdict.NEEDS_HELP,
        "of a lost task": Verdict.NEEDS_HELP,
        "waits": None,
    }
    assert await settle_stuck_bookings(inn.bookings, inn.tasks, inn.reports) == 0


async def test_a_run_goes_on_though_its_host_was_given_another_name(tmp_path: Path) -> None:
    """Its task knows the host's id."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    task = await inn.start()
    await inn.until_phase(task.id, "Updating")
    inn.engine.kill()
    inn.host_name = "attic"
    await inn.open()
    assert (await inn.ended(task.id)).result is TaskResult.SUCCESS
    assert (await inn.booking()).verdict is Verdict.KEPT
