"""What needs no undo point is done before it, and a guest that nothing has changed is never stopped."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from pathlib import Path

import pytest

from innkeeper.channels.ports import UpdateStatus
from innkeeper.hypervisor.simulated.guests import Behaviour
from innkeeper.machines.machine import MachineState
from innkeeper.machines.service import lock_of
from innkeeper.tasks.task import TaskResult
from innkeeper.updates.booking import BookingState, Verdict
from innkeeper.updates.order import UPDATE_RUN, RunOrder
from innkeeper.updates.policy import UndoPointPolicy
from innkeeper.wire.events import Event, EventKind
from innkeeper.wire.guest_facts import Ability
from tests.updates.inn import PATIENT, Before, Inn

STATES = (MachineState.RUNNING, MachineState.PAUSED, MachineState.SAVED, MachineState.TURNED_OFF)
#: What a machine is told of that is stopped, started or reset.
DISTURBED = {
    EventKind.MACHINE_STOPPED,
    EventKind.MACHINE_STARTED,
    EventKind.MACHINE_REBOOTED,
    EventKind.MACHINE_PAUSED,
    EventKind.MACHINE_CRASHED,
}


async def boot_of(inn: Inn, name: str = "web-1") -> str:
    """The boot that the guest is in."""
    memory = inn.host.simulation.machines[name].memory
    assert memory is not None
    return memory.boot_id


@pytest.mark.parametrize("state", STATES)
async def test_a_guest_with_nothing_to_do_says_so(tmp_path: Path, state: MachineState) -> None:
    """One that runs gets no undo point; one that was woken goes back to how it was found."""
    inn = Inn(tmp_path)
    await inn.open()
    machine = await inn.add(state)
    before = await Before.of(inn, machine)

    task = await inn.ended((await inn.start(context=Behaviour.UP_TO_DATE.encode())).id)

    assert task.result is TaskResult.SUCCESS
    report = await inn.report(task.id)
    assert (report.verdict, report.reasons) == (Verdict.NOTHING_TO_DO, ("Nothing had to be updated.",))
    booking = await inn.booking()
    assert (booking.status, booking.verdict) == (UpdateStatus.SUCCESS, Verdict.NOTHING_TO_DO)
    after = await Before.of(inn, machine)
    assert dataclasses.replace(after, content=before.content) == before
    assert inn.leftovers() == []
    has_undo_point = any(name == "undo point" for name, _ in report.phase_seconds)
    assert has_undo_point is (state is not MachineState.RUNNING)
    if state is not MachineState.RUNNING:
        assert after.content == before.content


@pytest.mark.parametrize("state", STATES)
async def test_a_guest_that_cannot_prepare_is_left_alone_and_tried_again(
    tmp_path: Path, state: MachineState
) -> None:
    """The repository is unsigned: no stop, no reboot; the booking waits, with the cause."""
    inn = Inn(tmp_path)
    await inn.open()
    machine = await inn.add(state)
    before = await Before.of(inn, machine)
    inn.events.clear()

    task = await inn.ended((await inn.start(context=Behaviour.NO_REPOSITORY.encode())).id)

    assert (task.result, "was not begun: Not looked for updates" in task.error_description) == (
        TaskResult.UNEXPECTED_ERROR,
        True,
    )
    report = await inn.report(task.id)
    assert report.verdict is Verdict.NOT_STARTED
    assert "is not signed" in report.reasons[0]
    booking = await inn.booking()
    assert (booking.state, booking.status) == (BookingState.WAITS, UpdateStatus.UNKNOWN)
    assert "is not signed" in booking.reason
    after = await Before.of(inn, machine)
    assert dataclasses.replace(after, content=before.content) == before
    assert inn.leftovers() == []
    if state is MachineState.RUNNING:
        assert not DISTURBED & {event.kind for event in inn.events}


@pytest.mark.parametrize("memory", [False, True])
async def test_an_update_that_fails_unchanged_is_merged_as_the_guest_runs(
    tmp_path: Path, memory: bool
) -> None:
    """It failed under its undo point, and before it changed anything: the plug is not pulled."""
    policy = dataclasses.replace(PATIENT, undo_point=UndoPointPolicy.MEMORY) if memory else PATIENT
    inn = Inn(tmp_path, policy)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    boot = await boot_of(inn)
    inn.events.clear()

    task = await inn.ended((await inn.start(context=Behaviour.FAILS_UNCHANGED.encode())).id)

    report = await inn.report(task.id)
    assert (report.verdict, report.left_state) == (Verdict.NOT_STARTED, "RUNNING")
    assert any(name == "merge" for name, _ in report.phase_seconds)
    assert await boot_of(inn) == boot
    assert not (DISTURBED - {EventKind.MACHINE_PAUSED}) & {event.kind for event in inn.events}
    assert inn.leftovers() == []
    assert (await inn.booking()).state is BookingState.WAITS
    assert inn.guest_disk().packages["base"] == "1.0-1"


async def test_what_failed_unchanged_runs_again_under_the_same_identifier(tmp_path: Path) -> None:
    """The guest's journal remembers the failure, and another run is not refused for it."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    await inn.ended((await inn.start(context=Behaviour.FAILS_UNCHANGED.encode())).id)

    task = await inn.ended((await inn.start(context=Behaviour.GOOD.encode())).id)

    assert (await inn.report(task.id)).verdict is Verdict.KEPT
    assert inn.guest_disk().packages["base"] == "1.0-2"


async def test_a_run_that_stops_before_its_update_keeps_the_guest_running(tmp_path: Path) -> None:
    """Cancelled under the undo point, with nothing begun in the guest: merged, not pulled."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    boot = await boot_of(inn)
    cancels: list[asyncio.Future[object]] = []

    def cancel(event: Event) -> None:
        """Cancel the run while its undo point is taken."""
        if event.kind is EventKind.TASK_CHANGED and event.data.get("phase") == "Creating the undo disks":
            cancels.append(asyncio.ensure_future(inn.tasks.cancel(int(event.subject))))

    inn.hearers.append(cancel)
    task = await inn.ended((await inn.start()).id)
    assert cancels
    assert task.result is TaskResult.CANCELLED
    report = await inn.report(task.id)
    assert (report.verdict, await boot_of(inn), inn.leftovers()) == (Verdict.NOT_STARTED, boot, [])
    assert (await inn.booking()).verdict is Verdict.NOT_STARTED


async def test_a_preparation_has_its_time(tmp_path: Path) -> None:
    """A mirror that is slower than that is given up, and the run is tried again."""
    inn = Inn(tmp_path, dataclasses.replace(PATIENT, prepare_seconds=5.0))
    await inn.open()
    await inn.add(MachineState.RUNNING)
    task = await inn.ended((await inn.start()).id)
    report = await inn.report(task.id)
    assert (report.verdict, report.reasons) == (
        Verdict.NOT_STARTED,
        ("The update could not be downloaded within 5 seconds.",),
    )
    assert (await inn.booking()).state is BookingState.WAITS
    memory = inn.host.simulation.machines["web-1"].memory
    assert memory is not None
    assert memory.preparations == {}


async def test_a_window_that_closes_meanwhile_leaves_the_booking_for_the_next(tmp_path: Path) -> None:
    """Nothing was touched, and nobody has to book it again."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    task = await inn.ended((await inn.start(window_seconds=5)).id)
    assert (task.result, (await inn.report(task.id)).verdict) == (
        TaskResult.CANCELLED,
        Verdict.NOT_STARTED,
    )
    assert (await inn.booking()).state is BookingState.WAITS


async def test_a_former_agent_and_a_former_order_go_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever does not know of preparations is updated as it was."""
    inn = Inn(tmp_path)
    await inn.open()
    for name in ("web-1", "web-2"):
        await inn.add(MachineState.RUNNING, name=name)
    booking = await inn.bookings.book(
        "web-2", label="", identifier="u", context=Behaviour.GOOD.encode(), booked_by="ana"
    )
    now = inn.clock.now()
    machine = await inn.machines.get("web-2")
    order = RunOrder.of(booking, machine, stop_at=now + dt.timedelta(hours=4), now=now)
    argument = {name: value for name, value in order.to_json().items() if name != "prepares"}
    started = await inn.tasks.start(UPDATE_RUN, "", argument, lock=lock_of(machine.key), host=machine.host_id)
    former = await inn.ended(started.id)
    monkeypatch.setattr(
        "innkeeper.hypervisor.simulated.agents.FakeAgent.knows",
        lambda self, ability: ability is not Ability.PREPARE,
    )
    unable = await inn.ended((await inn.start()).id)
    for task in (former, unable):
        report = await inn.report(task.id)
        assert report.verdict is Verdict.KEPT
    names = [name for name, _ in (await inn.report(former.id)).phase_seconds]
    assert "prepare" not in names


async def test_what_a_guest_wrote_before_its_update_is_kept_though_it_was_stopped(tmp_path: Path) -> None:
    """Its QEMU dies on the undo disks, or somebody stops it: no update has begun, so nothing is undone."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    stops: list[asyncio.Future[object]] = []

    def stop(event: Event) -> None:
        """Stop the machine as soon as its undo point is taken."""
        phase = event.data.get("phase") if event.kind is EventKind.TASK_CHANGED else ""
        if phase == "Recording the disks' checksums":
            stops.append(asyncio.ensure_future(inn.host.lifecycle.turn_off("web-1")))

    inn.hearers.append(stop)
    task = await inn.ended((await inn.start()).id)
    assert stops
    report = await inn.report(task.id)
    assert (report.verdict, report.left_state) == (Verdict.NOT_STARTED, "RUNNING")
    assert any(name == "merge" for name, _ in report.phase_seconds)
    assert not any(name == "discard" for name, _ in report.phase_seconds)
    assert inn.leftovers() == []
