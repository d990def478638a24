"""An update run keeps what is good, rolls back what is not, and leaves every machine as it was found."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from innkeeper.channels.ports import UpdateStatus
from innkeeper.errors import ErrorCode
from innkeeper.hypervisor.simulated.guests import Behaviour, GuestDisk
from innkeeper.machines.machine import MachineState
from innkeeper.machines.service import lock_of
from innkeeper.machines.settings import MachineSettings
from innkeeper.tasks.task import TaskResult
from innkeeper.updates.booking import Verdict
from innkeeper.updates.order import UPDATE_RUN, RunOrder
from innkeeper.updates.policy import Policy, UndoPointPolicy
from tests.updates.inn import IDENTIFIER, Before, Inn

STATES = (MachineState.RUNNING, MachineState.PAUSED, MachineState.SAVED, MachineState.TURNED_OFF)
KEPT = (
    Behaviour.GOOD,
    Behaviour.NEEDS_REBOOT,
    Behaviour.REBOOTS_ITSELF,
    Behaviour.SLOW,
    Behaviour.SLOW_SERVICE,
)
ROLLED_BACK = (
    (Behaviour.BAD, TaskResult.UNEXPECTED_ERROR, UpdateStatus.FAILED),
    (Behaviour.CRASH_LOOP, TaskResult.UNEXPECTED_ERROR, UpdateStatus.FAILED),
    (Behaviour.FAILS, TaskResult.UNEXPECTED_ERROR, UpdateStatus.FAILED),
    (Behaviour.BAD_AFTER_REBOOT, TaskResult.UNEXPECTED_ERROR, UpdateStatus.FAILED),
    (Behaviour.BREAKS_AGENT, TaskResult.UNEXPECTED_ERROR, UpdateStatus.FAILED),
    (Behaviour.CRASH, TaskResult.UNEXPECTED_ERROR, UpdateStatus.FAILED),
    (Behaviour.HANG, TaskResult.TIME_OUT_ERROR, UpdateStatus.TIMEOUT),
)


@pytest.mark.parametrize("behaviour", KEPT)
@pytest.mark.parametrize("state", STATES)
async def test_a_good_update_is_kept_and_the_former_state_restored(
    tmp_path: Path, state: MachineState, behaviour: Behaviour
) -> None:
    """Merged into the base, no overlay left, definition and state as they were."""
    inn = Inn(tmp_path)
    await inn.open()
    machine = await inn.add(state)
    before = await Before.of(inn, machine)

    task = await inn.ended((await inn.start(context=behaviour.encode())).id)

    assert (task.result, task.error_description) == (TaskResult.SUCCESS, "")
    assert (await inn.machine()).state is state
    assert await inn.host.definitions.read("web-1") == before.definition
    assert inn.guest_disk().packages["base"] == "1.0-2"
    inn.assert_state_of_the_disk()
    assert inn.leftovers() == []
    report = await inn.report(task.id)
    assert (report.verdict, report.reasons) == (Verdict.KEPT, ())
    assert [p.name for p in report.packages] == ["base"]
    assert report.reboots == int(behaviour in (Behaviour.NEEDS_REBOOT, Behaviour.REBOOTS_ITSELF))
    booking = await inn.booking()
    assert (booking.status, booking.verdict) == (UpdateStatus.SUCCESS, Verdict.KEPT)


@pytest.mark.parametrize(("behaviour", "result", "status"), ROLLED_BACK)
@pytest.mark.parametrize("state", STATES)
async def test_a_bad_update_is_rolled_back_byte_for_byte(
    tmp_path: Path, state: MachineState, behaviour: Behaviour, result: TaskResult, status: UpdateStatus
) -> None:
    """The base was never written to, and a saved memory is the one that was saved."""
    inn = Inn(tmp_path)
    await inn.open()
    machine = await inn.add(state)
    before = await Before.of(inn, machine)

    started = await inn.start(context=behaviour.encode())
    task = await inn.ended(started.id)

    await _assert_as_before(inn, before)
    assert task.result is result, task.error_description
    report = await inn.report(task.id)
    assert report.verdict is Verdict.ROLLED_BACK
    assert report.reasons
    assert all(checksum.before == checksum.after for checksum in report.checksums)
    assert len(report.checksums) == 2
    booking = await inn.booking()
    assert (booking.status, booking.verdict) == (status, Verdict.ROLLED_BACK)


@pytest.mark.parametrize(
    ("state", "behaviour"),
    [
        (MachineState.PAUSED, Behaviour.CRASH_AT_WAKE),
        (MachineState.SAVED, Behaviour.CRASH_AT_WAKE),
        (MachineState.TURNED_OFF, Behaviour.CRASH_AT_WAKE),
        # A guest that goes on from its memory has the agent that it had.
        (MachineState.TURNED_OFF, Behaviour.NO_AGENT),
    ],
)
async def test_a_machine_that_cannot_be_woken_is_put_back(
    tmp_path: Path, state: MachineState, behaviour: Behaviour
) -> None:
    """QEMU dies at the wake, or no agent comes: nothing of it stays."""
    inn = Inn(tmp_path)
    await inn.open()
    machine = await inn.add(state, behaviour=behaviour)
    before = await Before.of(inn, machine)

    started = await inn.start()
    task = await inn.ended(started.id)

    assert (await inn.report(task.id)).verdict is Verdict.ROLLED_BACK
    await _assert_as_before(inn, before)


async def test_a_running_machine_without_an_agent_is_refused_untouched(tmp_path: Path) -> None:
    """Before anything is begun, and with what to do about it."""
    inn = Inn(tmp_path)
    await inn.open()
    machine = await inn.add(MachineState.RUNNING)
    assert machine.memory is not None
    machine.memory.agent_up = False
    before = await Before.of(inn, machine)

    task = await inn.ended((await inn.start()).id)

    assert (await inn.report(task.id)).verdict is Verdict.NOT_STARTED
    assert task.result is TaskResult.UNEXPECTED_ERROR
    assert "did not answer" in task.error_description
    await _assert_as_before(inn, before)


async def test_a_booking_that_another_run_has_is_left_alone(tmp_path: Path) -> None:
    """Another server has started it: the machine and the booking stay as they are."""
    inn = Inn(tmp_path)
    await inn.open()
    machine = await inn.add(MachineState.RUNNING)
    before = await Before.of(inn, machine)
    booking = await inn.bookings.book("web-1", label="", identifier=IDENTIFIER, booked_by="ana")
    await inn.bookings.started(booking.of, IDENTIFIER, 4711)
    now = inn.clock.now()
    found = await inn.machine()
    order = RunOrder.of(booking, found, stop_at=now + dt.timedelta(hours=4), now=now)
    task = await inn.tasks.start(UPDATE_RUN, "", order.to_json(), lock=lock_of(found.key))

    ended = await inn.ended(task.id)

    assert "has been started as task 4711" in ended.error_description
    await _assert_as_before(inn, before)
    assert ((await inn.booking()).task_id, (await inn.booking()).verdict) == (4711, None)


async def test_an_identifier_that_the_guest_has_run_before_is_refused(tmp_path: Path) -> None:
    """Its agent would start nothing, and its old success would be taken for a new one."""
    inn = Inn(tmp_path)
    await inn.open()
    machine = await inn.add(MachineState.TURNED_OFF)
    await inn.ended((await inn.start()).id)
    await inn.bookings.delete("web-1", IDENTIFIER)
    content = inn.content()

    task = await inn.ended((await inn.start()).id)

    assert task.error == ErrorCode.ERROR_ALREADY_EXISTS
    assert inn.content() == content
    assert machine.state is MachineState.TURNED_OFF


CANCEL_AT = (
    (MachineState.PAUSED, "Preparing the machine"),
    (MachineState.PAUSED, "Starting the machine"),
    (MachineState.SAVED, "Starting the machine"),
    (MachineState.TURNED_OFF, "Starting the machine"),
    (MachineState.TURNED_OFF, "Waiting for the guest's agent"),
    (MachineState.TURNED_OFF, "Powering off"),
    *(
        (state, phase)
        for state in STATES
        for phase in ("Updating", "Rebooting", "Watching the guest for a while")
    ),
)


@pytest.mark.parametrize(("state", "phase"), CANCEL_AT)
async def test_a_cancel_before_the_point_of_no_return_rolls_back(
    tmp_path: Path, state: MachineState, phase: str
) -> None:
    """The task ends as cancelled, and all is as it was before."""
    inn = Inn(tmp_path)
    await inn.open()
    machine = await inn.add(state)
    before = await Before.of(inn, machine)
    started = await inn.start(context=b"needs_reboot")

    await inn.until_phase(started.id, phase)
    await inn.tasks.cancel(started.id)
    task = await inn.ended(started.id)

    assert task.result is TaskResult.CANCELLED
    await _assert_as_before(inn, before)


@pytest.mark.parametrize("state", STATES)
async def test_the_end_of_the_window_rolls_back(tmp_path: Path, state: MachineState) -> None:
    """What is not done by then is put back, and the report says why."""
    inn = Inn(tmp_path)
    await inn.open()
    machine = await inn.add(state)
    before = await Before.of(inn, machine)

    task = await inn.ended((await inn.start(context=b"hang", window_seconds=120)).id)

    assert task.result is TaskResult.CANCELLED
    report = await inn.report(task.id)
    assert report.verdict is Verdict.ROLLED_BACK
    assert "window closes" in report.reasons[0]
    assert (await inn.booking()).status is UpdateStatus.TIMEOUT
    assert report.ended_at - report.started_at < dt.timedelta(seconds=200)
    await _assert_as_before(inn, before)


@pytest.mark.parametrize("behaviour", [Behaviour.GOOD, Behaviour.BAD])
async def test_an_undo_point_may_be_taken_with_the_machine_off(tmp_path: Path, behaviour: Behaviour) -> None:
    """The policy shuts a running guest down first, and it runs again in the end."""
    inn = Inn(tmp_path, Policy(poll_seconds=5.0, undo_point=UndoPointPolicy.OFF))
    await inn.open()
    machine = await inn.add(MachineState.RUNNING)
    definition = await inn.host.definitions.read("web-1")

    task = await inn.ended((await inn.start(context=behaviour.encode())).id)

    report = await inn.report(task.id)
    assert report.verdict is (Verdict.KEPT if behaviour is Behaviour.GOOD else Verdict.ROLLED_BACK)
    assert machine.name == "web-1"
    assert (await inn.machine()).state is MachineState.RUNNING
    assert await inn.host.definitions.read("web-1") == definition
    assert inn.leftovers() == []


async def _assert_as_before(inn: Inn, before: Before) -> None:
    """State, definition, every byte of the disks (as far as nobody has run on them since), saved memory."""
    machine = inn.host.simulation.machines["web-1"]
    assert machine.state is before.state
    assert await inn.host.definitions.read("web-1") == before.definition
    assert inn.leftovers() == []
    inn.assert_state_of_the_disk()
    if before.state in (MachineState.SAVED, MachineState.PAUSED):
        memory = machine.saved.memory if machine.saved else machine.memory
        assert memory is not None
        assert memory.boot_id == before.memory
    if before.state is not MachineState.RUNNING:
        assert inn.content() == before.content
    assert inn.guest_disk().packages["base"] == "1.0-1"
    assert inn.guest_disk().broken_units == []


@pytest.mark.parametrize("behaviour", [Behaviour.GOOD, Behaviour.BAD])
async def test_a_disk_left_out_is_said_in_the_log_and_in_the_report_of_a_roll_back(
    tmp_path: Path, behaviour: Behaviour
) -> None:
    """A reader of the report learns what was not taken back; a kept update took nothing back."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.TURNED_OFF)
    await MachineSettings(inn.machines).change("web-1", {"undo_exclude": "vdb"})
    task = await inn.ended((await inn.start(context=behaviour.encode())).id)
    said = [line.text for line in await inn.tasks.log(task.id) if "vdb" in line.text]
    assert len(said) == 1
    assert "a roll back does not undo what is written to it" in said[0]
    report = await inn.report(task.id)
    rolled_back = behaviour is Behaviour.BAD
    assert report.verdict is (Verdict.ROLLED_BACK if rolled_back else Verdict.KEPT)
    assert (said[0] in report.reasons) is rolled_back
    assert inn.leftovers() == []


@pytest.mark.parametrize("state", STATES)
async def test_a_machine_without_a_disk_is_updated_without_an_undo_disk(
    tmp_path: Path, state: MachineState
) -> None:
    """Its system is somewhere else: the update is kept there, and the machine is left as it was found."""
    inn = Inn(tmp_path)
    await inn.open()
    machine = await inn.add(state, targets=())
    for identifier, version in (("first", "1.0-2"), ("second", "1.0-3")):
        started = await inn.start(identifier=identifier, context=Behaviour.NEEDS_REBOOT.encode())
        task = await inn.ended(started.id)
        report = await inn.report(task.id)
        assert (report.verdict, report.reasons) == (Verdict.KEPT, ())
        assert [package.new_version for package in report.packages] == [version]
        assert (await inn.machine()).state is state
    assert GuestDisk.from_bytes(machine.network_disk.encode()).packages["base"] == "1.0-3"
    started = await inn.start(identifier="third", context=Behaviour.BAD.encode())
    report = await inn.report((await inn.ended(started.id)).id)
    assert report.verdict is Verdict.ROLLED_BACK
    assert (await inn.machine()).state is state
    assert inn.leftovers() == []
