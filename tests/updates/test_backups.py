"""Update runs and other people's incremental backups live with one another."""

from __future__ import annotations

from pathlib import Path

import pytest

from innkeeper.errors import ErrorCode, HypervisorError
from innkeeper.hypervisor.simulated import acts
from innkeeper.hypervisor.simulated.guests import Behaviour
from innkeeper.hypervisor.simulated.machines import SimulatedMachine, file_disk
from innkeeper.machines.machine import MachineState
from innkeeper.machines.undo.fitness import UndoRules, plan_undo_point
from innkeeper.machines.undo.point import UndoPoint
from innkeeper.tasks.task import TaskResult
from innkeeper.updates.booking import Verdict
from innkeeper.updates.policy import Policy, UndoPointPolicy
from innkeeper.wire.commands import Command
from tests.updates.dying_engine import DyingEngine, Moment
from tests.updates.inn import Before, Inn, settle

#: When a backup comes: the run is in the middle of its undo point then.
_WHILE_PROTECTED = "Updating"


async def back_up(inn: Inn, checkpoint: str, *, since: str = "", seconds: float = 0.0) -> None:
    """Do what a backup program does. Raises ``HypervisorError`` where an increment is not possible."""
    await inn.host.simulation.simulate(
        "web-1", lambda machine, now: acts.back_up(machine, checkpoint, seconds, now, since)
    )


async def wake(inn: Inn) -> None:
    """Boot the machine where it is off: no time passes for a command now."""
    await inn.host.simulation.simulate(
        "web-1", lambda machine, now: None if machine.is_on else machine.boot(now)
    )


async def log_of(inn: Inn, task_id: int) -> str:
    """Every line of the task's log."""
    return "\n".join(line.text for line in await inn.tasks.log(task_id))


@pytest.mark.parametrize("undo_point", UndoPointPolicy)
async def test_an_undo_point_waits_for_a_backup(tmp_path: Path, undo_point: UndoPointPolicy) -> None:
    """The backup is whole, the guest was not shut down under it, and the update is kept."""
    inn = Inn(tmp_path, Policy(poll_seconds=10.0, apply_seconds=900.0, undo_point=undo_point))
    await inn.open()
    machine = await inn.add(MachineState.RUNNING)
    await back_up(inn, "nightly", seconds=600)
    boots = machine.boot_id
    started = await inn.start()
    await inn.until_phase(started.id, "Preparing the machine")
    await inn.clock.advance(300)
    assert machine.boot_id == boots
    assert inn.leftovers() == []
    task = await inn.ended(started.id)
    assert task.result is TaskResult.SUCCESS, task.error_description
    assert "A backup of web-1 is running (a backup of vda, vdb): its end" in await log_of(inn, started.id)


async def test_a_backup_that_does_not_end_is_the_reason_why_nothing_was_begun(tmp_path: Path) -> None:
    """The machine is left alone, the backup goes on, and the report names it."""
    inn = Inn(tmp_path)
    await inn.open()
    machine = await inn.add(MachineState.RUNNING)
    before = await Before.of(inn, machine)
    await back_up(inn, "nightly", seconds=1e6)
    started = await inn.start(window_seconds=900)
    task = await inn.ended(started.id)
    report = await inn.report(started.id)
    assert report.verdict is Verdict.NOT_STARTED
    assert report.reasons == ("A backup of web-1 was still running when its window closed.",)
    assert task.error == ErrorCode.ERROR_BUSY
    assert machine.backup_until > inn.clock.now().timestamp()
    assert await inn.host.definitions.read("web-1") == before.definition
    assert inn.leftovers() == []


async def test_a_cancel_ends_the_wait(tmp_path: Path) -> None:
    """At once, with nothing touched."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    await back_up(inn, "nightly", seconds=1e6)
    started = await inn.start()
    await inn.until_phase(started.id, "Preparing the machine")
    await inn.tasks.cancel(started.id)
    await inn.ended(started.id)
    assert (await inn.report(started.id)).verdict is Verdict.NOT_STARTED


@pytest.mark.parametrize("state", [MachineState.RUNNING, MachineState.TURNED_OFF])
async def test_a_merge_waits_for_a_backup(tmp_path: Path, state: MachineState) -> None:
    """One that was begun while the undo disks were on is whole, and the update is kept after it."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(state)
    started = await inn.start()
    await inn.until_phase(started.id, "Watching the guest for a while")
    await back_up(inn, "nightly", seconds=1500)
    task = await inn.ended(started.id)
    assert task.result is TaskResult.SUCCESS, task.error_description
    log = await log_of(inn, started.id)
    assert "its end is waited for" in log
    assert "cut off" not in log
    assert "A backup was taken while the undo disks were on: checkpoint nightly." in log
    await wake(inn)
    await back_up(inn, "next", since="nightly")


async def test_a_merge_waits_for_what_the_host_cannot_list(tmp_path: Path) -> None:
    """However long, past the end of its window: that is no failure, and it is said who holds the disks."""
    inn = Inn(tmp_path)
    await inn.open()
    machine = await inn.add(MachineState.RUNNING)
    started = await inn.start(window_seconds=7200)
    await inn.until_phase(started.id, "Watching the guest for a while")
    machine.backup_words, machine.backup_until = "the job proxmox", inn.clock.now().timestamp() + 9000
    task = await inn.ended(started.id)
    assert task.result is TaskResult.SUCCESS, task.error_description
    (reason,) = (await inn.report(started.id)).reasons
    assert reason.startswith("It was on probation until ")
    assert reason.endswith(", as its merge was held up: “The job proxmox holds a disk of web-1”.")
    log = await log_of(inn, started.id)
    assert "The job proxmox holds a disk of web-1: its end is waited for." in log
    assert ", for 30 minutes by now." in log
    assert "failed (1)" not in log
    assert inn.leftovers() == []


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_undo_disks_of_a_machine_that_is_on_are_merged_by_command(
    tmp_path: Path, is_cancelled: bool
) -> None:
    """Its guest runs on; a backup is waited for, and until its end a cancel leaves everything as it was."""
    inn = Inn(tmp_path)
    await inn.open()
    machine = await inn.add(MachineState.RUNNING)
    boot = machine.boot_id
    plan = await plan_undo_point(inn.host, await inn.machine(), 7, UndoRules())
    await UndoPoint(inn.host, plan, clock=inn.clock).take(freeze_seconds=10)
    left = inn.leftovers()
    await back_up(inn, "nightly", seconds=600)
    task = await inn.machines.command("web-1", Command.MERGE_UNDO_DISKS, owner="ana")
    await settle()
    if is_cancelled:
        await inn.tasks.cancel(task.id)
    task = await inn.ended(task.id)
    assert "A backup of web-1 is running (a backup of vda, vdb): its end is waited for." in await log_of(
        inn, task.id
    )
    assert task.result is (TaskResult.CANCELLED if is_cancelled else TaskResult.SUCCESS)
    assert inn.leftovers() == (left if is_cancelled else [])
    assert (await inn.machine()).disks[0].path == (plan.overlays if is_cancelled else plan.bases)["vda"]
    assert machine.boot_id == boot


@pytest.mark.parametrize("state", [MachineState.RUNNING, MachineState.SAVED, MachineState.TURNED_OFF])
async def test_increments_go_on_after_a_roll_back(tmp_path: Path, state: MachineState) -> None:
    """From a backup that was taken through the undo disk; the base is mended after it was verified."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(state)
    started = await inn.start(context=Behaviour.BAD.encode())
    await inn.until_phase(started.id, _WHILE_PROTECTED)
    await back_up(inn, "nightly", seconds=60)
    await inn.ended(started.id)
    report = await inn.report(started.id)
    assert report.verdict is Verdict.ROLLED_BACK
    assert all(each.before == each.after for each in report.checksums)
    assert not [reason for reason in report.reasons if "backup" in reason]
    assert inn.leftovers() == []
    assert "increments go on from them" in await log_of(inn, started.id)
    await wake(inn)
    await back_up(inn, "next", since="nightly")


@pytest.mark.parametrize("moment", Moment)
@pytest.mark.parametrize("step", ["settle", "verify", "tidy after discard"])
async def test_increments_go_on_whenever_the_service_dies(tmp_path: Path, step: str, moment: Moment) -> None:
    """Before, in and after the step that mends; and a checkpoint from before the run is not taken for new."""
    inn = Inn(tmp_path)
    engine = DyingEngine(inn.journal, inn.clock, step, moment)
    await inn.open(engine)
    await inn.add(MachineState.RUNNING)
    await back_up(inn, "before")
    started = await inn.start(context=Behaviour.BAD.encode())
    for _ in range(2000):
        if engine.is_dead:
            break
        if (await inn.tasks.get(started.id)).progress.phase == _WHILE_PROTECTED:
            await back_up(inn, "nightly")
        await inn.pass_time()
    assert engine.is_dead
    await settle()
    await inn.open()
    if step == "settle":
        await inn.until_phase(started.id, _WHILE_PROTECTED)
        await back_up(inn, "nightly")
    await inn.ended(started.id)
    report = await inn.report(started.id)
    assert report.verdict is Verdict.ROLLED_BACK
    assert not [reason for reason in report.reasons if "backup" in reason]
    assert inn.leftovers() == []
    await back_up(inn, "next", since="nightly")


async def test_what_cannot_be_mended_is_said_with_the_next_backup(tmp_path: Path) -> None:
    """A raw base keeps no bitmap: report and log say that the next backup is a full one, and the commands."""
    inn = Inn(tmp_path)
    await inn.open()
    disks = [file_disk("vda", str(tmp_path / "disks" / "web-1.raw"))]
    await inn.host.simulation.add(SimulatedMachine(name="web-1", uuid="web-1", disks=disks))
    started = await inn.start(context=Behaviour.BAD.encode())
    await inn.until_phase(started.id, _WHILE_PROTECTED)
    await back_up(inn, "nightly")
    await inn.ended(started.id)
    report = await inn.report(started.id)
    assert report.verdict is Verdict.ROLLED_BACK
    [reason] = [each for each in report.reasons if "Incremental" in each]
    assert "Its next backup must be a full one, into a new folder" in reason
    assert "virsh checkpoint-delete web-1 nightly --metadata" in reason
    assert reason in await log_of(inn, started.id)
    assert inn.leftovers() == []
    await wake(inn)
    with pytest.raises(HypervisorError):
        await back_up(inn, "next", since="nightly")


@pytest.mark.parametrize("command", [Command.DISCARD_UNDO_DISKS, Command.MERGE_UNDO_DISKS])
async def test_undo_disks_that_are_ended_by_hand_break_no_backups(tmp_path: Path, command: Command) -> None:
    """Of an undoable machine, which was backed up while it stood on them."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.TURNED_OFF)
    await inn.machines.set_undoable("web-1", True)
    await inn.ended((await inn.machines.command("web-1", Command.STARTUP, owner="ana")).id)
    await back_up(inn, "nightly")
    await inn.ended((await inn.machines.command("web-1", Command.TURN_OFF, owner="ana")).id)
    task = await inn.ended((await inn.machines.command("web-1", command, owner="ana")).id)
    assert task.result is TaskResult.SUCCESS, task.error_description
    assert inn.leftovers() == []
    await wake(inn)
    await back_up(inn, "next", since="nightly")
