"""A backup that is in the way of a merge is waited for, on a real libvirtd, with machines that run."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

from innkeeper.machines.machine import MachineState
from innkeeper.machines.undo.fitness import UndoRules, plan_undo_point
from innkeeper.machines.undo.point import UndoPoint
from innkeeper.tasks.clock import SystemClock
from innkeeper.updates.booking import Verdict
from innkeeper.wire.commands import Command
from tests.guests.tiny import TinyGuest
from tests.hypervisor.backup_program import LibvirtBackupProgram
from tests.night.near import NEEDS_LIBVIRTD, near_inn

pytestmark = NEEDS_LIBVIRTD


async def test_a_good_update_is_kept_after_the_backup(tiny_guest: TinyGuest) -> None:
    """It ended in *needs help* after its tries; later the undo disks of the running machine are merged."""
    async with near_inn() as inn:
        machine = await inn.add(tiny_guest)
        with LibvirtBackupProgram.on(inn.daemon.uri, "web", inn.daemon.home) as program:
            await inn.book(b"fill slow")
            await inn.until_said("phase: Updating")
            await program.begin_past_libvirt("theirs", inn.daemon.home / "theirs.qcow2")
            await inn.until_said("are held by the job theirs")
            assert (await inn.machine()).state is MachineState.RUNNING
            await program.end_past_libvirt("theirs")
            report = await inn.report()
            assert (report.verdict, report.reasons) == (Verdict.KEPT, ()), await inn.log()
            assert (await inn.machine()).disks[0].path == str(machine.disk)

            plan = await plan_undo_point(inn.host, await inn.machine(), 99, UndoRules())
            await UndoPoint(inn.host, plan, clock=SystemClock()).take(freeze_seconds=10)
            await program.begin("nightly")
            task = await inn.house.machines.command("web", Command.MERGE_UNDO_DISKS, owner="test")
            while not (said := await inn.house.tasks.log(task.id)):
                assert not (await inn.house.tasks.get(task.id)).is_complete
            assert "for the checkpoint nightly" in said[0].text
            await program.end()
            await inn.house.tasks.wait(task.id)
            assert not (await inn.house.tasks.get(task.id)).error_description
            assert (await inn.machine()).disks[0].path == str(machine.disk)
            assert (await inn.machine()).state is MachineState.RUNNING
            assert not list(inn.daemon.home.glob("*.innkeeper-*"))


async def test_a_merge_that_is_held_past_its_window_is_made_in_the_next_one(
    tiny_guest: TinyGuest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine works on, on probation, through the hard end of the one and the begin of the other."""
    ahead, real = [dt.timedelta()], SystemClock.now
    monkeypatch.setattr(SystemClock, "now", lambda clock: real(clock) + ahead[0])
    tonight, hour = SystemClock().now().replace(microsecond=0), dt.timedelta(hours=1)
    async with near_inn() as inn:
        machine = await inn.add(tiny_guest)
        agent = await inn.house.agents.connected((await inn.machine()).key, timeout=90)
        await inn.open_window("tonight", tonight, hour)
        await inn.open_window("next", tonight + 3 * hour, hour)
        with LibvirtBackupProgram.on(inn.daemon.uri, "web", inn.daemon.home) as program:
            await inn.book_only(b"fill slow")
            await inn.until_said("phase: Updating")
            await program.begin_past_libvirt("theirs", inn.daemon.home / "theirs.qcow2")
            await inn.until_said("are held by the job theirs")
            assert not (await inn.house.bookings.get("web", "n")).is_on_probation

            ahead[0] = hour + dt.timedelta(minutes=5)
            await inn.until_said("On probation")
            while not (booking := await inn.house.bookings.get("web", "n")).is_on_probation:
                await asyncio.sleep(0.1)
            report = await inn.house.reports.of_booking("web", "n")
            assert (report.verdict, report.reasons) == (Verdict.KEPT, (booking.reason,))
            assert "theirs" in booking.reason
            assert (await inn.machine()).disks[0].path != str(machine.disk)

            ahead[0] = 3 * hour + dt.timedelta(minutes=5)
            assert (await inn.machine()).state is MachineState.RUNNING
            await program.end_past_libvirt("theirs")
        report = await inn.report()
        assert report.verdict is Verdict.KEPT, await inn.log()
        [reason] = report.reasons
        assert reason.startswith(f"It was on probation until {SystemClock().now():%Y-%m-%d}")
        assert "theirs" in reason
        assert (await inn.machine()).disks[0].path == str(machine.disk)
        assert (await inn.machine()).state is MachineState.RUNNING
        assert not list(inn.daemon.home.glob("*.innkeeper-*"))
        again = await inn.house.agents.connected((await inn.machine()).key, timeout=90)
        assert again.hello.boot_id == agent.hello.boot_id, "a good update takes a running machine no moment"
