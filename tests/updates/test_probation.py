"""A kept update whose merge waits past its window is on probation: everybody is told, nobody is held up."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from innkeeper.machines.machine import MachineState
from innkeeper.machines.service import lock_of
from innkeeper.tasks.task import TaskResult
from innkeeper.updates.booking import MERGE, Verdict
from innkeeper.updates.order import UPDATE_RUN, RunOrder
from innkeeper.wire.events import EventKind
from tests.updates.inn import Inn

_WINDOW = 7200.0


async def on_probation(inn: Inn, *, seconds: float = 5 * _WINDOW) -> int:
    """Run a good update whose merge somebody holds up until long after the window; returns its task."""
    machine = await inn.add(MachineState.RUNNING)
    started = await inn.start(window_seconds=_WINDOW)
    await inn.until_phase(started.id, "Watching the guest for a while")
    machine.backup_words, machine.backup_until = "the job proxmox", inn.clock.now().timestamp() + seconds
    await inn.until_phase(started.id, "Merging the undo disks")
    for _ in range(5000):
        if (await inn.booking()).is_on_probation:
            break
        await inn.pass_time()
    return started.id


async def test_past_its_window_booking_and_report_say_so(tmp_path: Path) -> None:
    """Not before, and with who holds the disks."""
    inn = Inn(tmp_path)
    await inn.open()
    began = inn.clock.now()
    task_id = await on_probation(inn)
    booking, report = await inn.booking(), await inn.report(task_id)
    assert inn.clock.now() - began >= dt.timedelta(seconds=_WINDOW)
    assert booking.is_on_probation
    assert booking.verdict is None
    assert "The job proxmox holds a disk of web-1" in booking.reason
    assert (report.verdict, report.reasons) == (Verdict.KEPT, (booking.reason,))
    assert MERGE not in dict(report.phase_seconds)
    told = [event for event in inn.events if event.kind is EventKind.UPDATE_ON_PROBATION]
    assert [event.data["task"] for event in told] == [task_id]
    assert (await inn.machine()).state is MachineState.RUNNING
    assert inn.leftovers() != []


async def test_it_is_merged_by_itself_once_the_disks_are_free(tmp_path: Path) -> None:
    """The last report takes the first one's place."""
    inn = Inn(tmp_path)
    await inn.open()
    task = await inn.ended(await on_probation(inn))
    assert task.result is TaskResult.SUCCESS, task.error_description
    report, booking = await inn.report(task.id), await inn.booking()
    assert report.verdict is Verdict.KEPT
    assert [reason.partition(" until ")[0] for reason in report.reasons] == ["It was on probation"]
    assert MERGE in dict(report.phase_seconds)
    assert (booking.verdict, booking.is_on_probation) == (Verdict.KEPT, False)
    assert inn.leftovers() == []
    assert inn.guest_disk().packages["base"] == "1.0-2"


async def test_a_next_update_of_the_machine_waits_for_it(tmp_path: Path) -> None:
    """The machine is held by the run whose merge waits."""
    inn = Inn(tmp_path)
    await inn.open()
    task_id = await on_probation(inn)
    booking = await inn.bookings.book("web-1", label="", identifier="next", booked_by="ana")
    machine, now = await inn.machines.get("web-1"), inn.clock.now()
    order = RunOrder.of(booking, machine, stop_at=now + dt.timedelta(hours=4), now=now)
    with pytest.raises(Exception, match=str(task_id)):
        await inn.tasks.start(
            UPDATE_RUN, "", order.to_json(), lock=lock_of(machine.key), host=machine.host_id
        )
    await inn.ended(task_id)


async def test_it_goes_on_after_a_restart_of_the_service(tmp_path: Path) -> None:
    """It is told again, and merged."""
    inn = Inn(tmp_path)
    await inn.open()
    task_id = await on_probation(inn)
    await inn.open()
    task = await inn.ended(task_id)
    assert task.result is TaskResult.SUCCESS, task.error_description
    assert (await inn.report(task_id)).reasons[0].startswith("It was on probation until ")
    assert inn.leftovers() == []
