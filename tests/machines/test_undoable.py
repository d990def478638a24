"""Undoable machines take undo disks at their start, and deal with them at their end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from innkeeper.errors import ErrorCode, MachineError
from innkeeper.hypervisor.simulated import disks as fake_disks
from innkeeper.hypervisor.simulated.guests import GuestDisk
from innkeeper.machines.change import MetadataChanged, Scope
from innkeeper.machines.machine import MachineState
from innkeeper.machines.shutdown_actions import apply_shutdown_actions
from innkeeper.machines.undo.merge_marks import mark_merge
from innkeeper.machines.undo.overlay_names import run_of
from innkeeper.machines.undo.point import UndoPlan, UndoPoint
from innkeeper.machines.undo.undoable import existing_plan
from innkeeper.machines.undo_action_watch import UndoActionWatch
from innkeeper.tasks.task import Task, TaskResult
from innkeeper.wire.commands import Command, command_of
from innkeeper.wire.events import Event
from innkeeper.wire.virtual_pc import ShutdownAction, UndoAction
from tests.threads import in_thread
from tests.updates.inn import Inn

M = "web-1"


@pytest.fixture
async def inn(tmp_path: Path) -> Inn:
    """An inn with one machine, off and undoable."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.TURNED_OFF)
    await inn.machines.set_undoable(M, True)
    return inn


@pytest.fixture
async def watching(inn: Inn) -> AsyncIterator[Inn]:
    """The same, with somebody who hears of machines that stop by themselves."""
    watch = UndoActionWatch(machines=inn.machines, clock=inn.clock)
    publish = inn.host.simulation._publish

    def publish_and_watch(event: Event) -> None:
        publish(event)
        watch.on_event(event)

    inn.host.simulation._publish = publish_and_watch
    running = asyncio.create_task(watch.run())
    yield inn
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def _act(inn: Inn, action: UndoAction) -> None:
    await inn.host.configurations.change(M, MetadataChanged(extras={"undo_action": action}), Scope.BOTH)


async def _do(inn: Inn, command: str) -> None:
    task = await inn.ended((await inn.machines.command(M, command_of(command), owner="ana")).id)
    assert task.result is TaskResult.SUCCESS, task.error_description


async def _boots(inn: Inn) -> int:
    """How often the guest has booted, as it sees it on its disk."""
    return GuestDisk.from_bytes(in_thread(fake_disks.read, (await inn.machine()).disks[0].path)).boots


async def _stands_on_undo_disks(inn: Inn) -> bool:
    return all(run_of(disk.path) is not None for disk in (await inn.machine()).disks)


@pytest.mark.parametrize("end", ["turn_off", "shut_down"])
@pytest.mark.parametrize("action", list(UndoAction))
async def test_the_undo_action_follows_the_end(inn: Inn, action: UndoAction, end: str) -> None:
    """Discarded, the disk has not booted; committed, it has, and nothing is left; kept, all is as it was."""
    await _act(inn, action)
    await _do(inn, "startup")
    assert await _stands_on_undo_disks(inn)
    assert (await _boots(inn), inn.guest_disk().boots) == (1, 0)
    await _do(inn, end)
    assert (await inn.machine()).state is MachineState.TURNED_OFF
    assert await _stands_on_undo_disks(inn) is (action is UndoAction.KEEP)
    assert await _boots(inn) == (0 if action is UndoAction.DISCARD else 1)
    assert inn.guest_disk().boots == (1 if action is UndoAction.COMMIT else 0)
    assert bool(inn.leftovers()) is (action is UndoAction.KEEP)
    assert not (await inn.machine()).undo_pending


async def test_kept_undo_disks_take_the_writes_of_the_next_start_too(inn: Inn) -> None:
    """No second layer comes over them."""
    await _act(inn, UndoAction.KEEP)
    for boots in (1, 2):
        await _do(inn, "startup")
        assert await _boots(inn) == boots
        await _do(inn, "turn_off")
    assert len(inn.leftovers()) == 4  # two overlays, the firmware's variables, and the note of them


async def test_a_guest_that_powers_off_by_itself_has_its_undo_action_too(watching: Inn) -> None:
    """The service hears of it."""
    await _act(watching, UndoAction.DISCARD)
    await _do(watching, "startup")
    await watching.host.simulation.simulate(M, lambda machine, _: machine.turn_off())
    for _ in range(200):
        await watching.pass_time()
        if not (await watching.machine()).undo_pending:
            break
    assert not await _stands_on_undo_disks(watching)
    assert watching.guest_disk().boots == 0


async def test_a_reset_keeps_the_undo_disks(inn: Inn) -> None:
    """Only an end deals with them."""
    await _act(inn, UndoAction.DISCARD)
    await _do(inn, "startup")
    await _do(inn, "reset")
    assert await _stands_on_undo_disks(inn)


async def test_a_saved_machine_is_merged_and_goes_on(inn: Inn) -> None:
    """With its memory, on the merged disks."""
    await _do(inn, "startup")
    await _do(inn, "save")
    await _do(inn, "merge_undo_disks")
    machine = await inn.machine()
    assert machine.state is MachineState.SAVED
    assert not await _stands_on_undo_disks(inn)
    assert inn.leftovers() == []
    await _do(inn, "startup")
    assert (await inn.machine()).state is MachineState.RUNNING


async def test_a_merge_that_was_cut_at_its_very_end_is_ended(inn: Inn) -> None:
    """The disks are merged and named; what merged them still stands, and is let go of."""
    await _act(inn, UndoAction.KEEP)
    await _do(inn, "startup")
    await _do(inn, "turn_off")
    plan = await existing_plan(inn.host, await inn.machine())
    assert plan is not None
    undo = UndoPoint(inn.host, plan, clock=inn.clock)
    for _ in range(2):
        merging = asyncio.create_task(undo.merge())
        while not merging.done():
            await inn.pass_time()
        await merging
        assert (await inn.machine()).state is MachineState.TURNED_OFF
        await inn.host.simulation.simulate(M, lambda machine, _: setattr(machine, "merging", True))
        assert (await inn.machine()).state is MachineState.MERGING_DRIVES


async def test_no_longer_undoable_it_loses_what_its_undo_disks_hold(inn: Inn) -> None:
    """As documented."""
    await _act(inn, UndoAction.KEEP)
    await _do(inn, "startup")
    await _do(inn, "turn_off")
    ending = asyncio.create_task(inn.machines.set_undoable(M, False))
    while not ending.done():
        await inn.pass_time()
    await ending
    assert inn.guest_disk().boots == 0
    assert inn.leftovers() == []


@pytest.mark.parametrize(
    ("action", "state"),
    [
        (ShutdownAction.SAVE, MachineState.SAVED),
        (ShutdownAction.TURN_OFF, MachineState.TURNED_OFF),
        (ShutdownAction.SHUTDOWN, MachineState.TURNED_OFF),
    ],
)
async def test_at_the_services_end_machines_end_as_they_say(
    inn: Inn, action: ShutdownAction, state: MachineState
) -> None:
    """And their undo disks are kept, whatever their undo action."""
    await _act(inn, UndoAction.DISCARD)
    await inn.host.configurations.change(M, MetadataChanged(extras={"shutdown_action": action}), Scope.BOTH)
    await _do(inn, "startup")
    quitting = asyncio.create_task(apply_shutdown_actions(inn.machines, inn.tasks, timeout_seconds=600))
    while not quitting.done():
        await inn.pass_time()
    await quitting
    assert (await inn.machine()).state is state
    assert await _stands_on_undo_disks(inn)
    assert await _boots(inn) == 1


async def _off_on_undo_disks(inn: Inn) -> UndoPlan:
    await _act(inn, UndoAction.KEEP)
    await _do(inn, "startup")
    await _do(inn, "turn_off")
    plan = await existing_plan(inn.host, await inn.machine())
    assert plan is not None
    return plan


async def _ended(inn: Inn, command: Command) -> Task:
    return await inn.ended((await inn.machines.command(M, command, owner="t")).id)


async def test_undo_disks_that_no_definition_names_are_not_taken_for_merged(inn: Inn) -> None:
    """The definition was written anew from before: they hold all that was written since."""
    before = await inn.host.definitions.read(M)
    plan = await _off_on_undo_disks(inn)
    await inn.host.definitions.define(before)
    with pytest.raises(MachineError, match="nothing says that they were merged") as caught:
        await UndoPoint(inn.host, plan, clock=inn.clock).merge()
    assert "virsh edit" in caught.value.advice
    by_hand = await _ended(inn, Command.MERGE_UNDO_DISKS)
    assert by_hand.error == ErrorCode.VM_E_PARENT_CHILD_ID_MISMATCH
    assert inn.leftovers() != []


async def test_a_begun_merge_is_known_without_the_journal(inn: Inn) -> None:
    """Whoever began it, and whatever became of the database: the base is not whole without its undo disk."""
    plan = await _off_on_undo_disks(inn)
    await mark_merge(inn.host, M, [*plan.overlays.values()])
    assert (await _ended(inn, Command.DISCARD_UNDO_DISKS)).error == ErrorCode.E_FAIL
    with pytest.raises(MachineError, match="can only be merged now"):
        await UndoPoint(inn.host, plan, clock=inn.clock).drop()
    os.utime(inn.disk())
    await _do(inn, "merge_undo_disks")
    assert inn.leftovers() == []
    assert not (await inn.host.configurations.read(M)).extras.merging


@pytest.mark.parametrize("by_hand", [True, False])
async def test_nothing_is_merged_into_a_base_that_was_changed(inn: Inn, by_hand: bool) -> None:
    """It may not be the same disk; the undo disks can still be discarded."""
    if by_hand:
        await _off_on_undo_disks(inn)
    else:
        await _act(inn, UndoAction.COMMIT)
        await _do(inn, "startup")
    in_thread(Path(inn.disk()).write_bytes, b"x" * fake_disks.DISK_BYTES)
    task = await _ended(inn, Command.MERGE_UNDO_DISKS if by_hand else Command.TURN_OFF)
    assert task.error == ErrorCode.VM_E_PARENT_MODIFIED
    assert await _stands_on_undo_disks(inn)
    await _do(inn, "discard_undo_disks")
    assert inn.leftovers() == []
