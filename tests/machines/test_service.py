"""Machines are found over all hosts, and commanded as their state allows."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from innkeeper.errors import ErrorCode, HypervisorError, MachineBusy, MachineNotFound, WrongState
from innkeeper.machines.command import LIFE
from innkeeper.machines.machine import MachineState
from innkeeper.machines.undo.fitness import UndoRules, plan_undo_point
from innkeeper.machines.undo.point import UndoPoint
from innkeeper.tasks.task import LogLevel, TaskResult
from innkeeper.wire.commands import Command
from tests.updates.inn import Inn

STATES = (MachineState.RUNNING, MachineState.PAUSED, MachineState.SAVED, MachineState.TURNED_OFF)
#: The update run that took the undo point: before every task of these tests.
_RUN = 0
ON_UNDO_DISKS = (Command.MERGE_UNDO_DISKS, Command.DISCARD_UNDO_DISKS)


@pytest.fixture
async def inn(tmp_path: Path) -> Inn:
    """An inn without machines."""
    inn = Inn(tmp_path)
    await inn.open()
    return inn


@pytest.mark.parametrize(
    ("state", "command"),
    # Going back to the running moment needs memory: test_to_running.py.
    [
        (state, command)
        for state, command in itertools.product(STATES, Command)
        if command is not Command.GO_BACK_TO_RUNNING or (state, command) not in LIFE
    ],
)
async def test_a_command_leads_where_the_table_says_or_is_refused(
    inn: Inn, state: MachineState, command: Command
) -> None:
    """A refusal names both, and comes before there is a task."""
    await inn.add(state)
    if (state, command) not in LIFE:
        with pytest.raises(WrongState) as caught:
            await inn.machines.command("web-1", command, owner="ana")
        assert (caught.value.state, caught.value.command) == (state.name, command)
        assert await inn.tasks.list() == []
        return
    if command in ON_UNDO_DISKS:
        await _take_undo_point(inn)
    task = await inn.ended((await inn.machines.command("web-1", command, owner="ana")).id)
    assert task.result is TaskResult.SUCCESS, task.error_description
    assert (await inn.machine()).state is LIFE[state, command].to
    assert task.owner == "ana"


async def test_undo_disks_are_merged_or_discarded(inn: Inn) -> None:
    """Merged, the base has what was written; discarded, it has not; no overlay stays."""
    await inn.add(MachineState.TURNED_OFF)
    for command, boots in ((Command.MERGE_UNDO_DISKS, 1), (Command.DISCARD_UNDO_DISKS, 1)):
        await _take_undo_point(inn)
        await inn.host.simulation.simulate("web-1", lambda machine, now: machine.boot(now))
        await inn.host.lifecycle.turn_off("web-1")
        await inn.ended((await inn.machines.command("web-1", command, owner="ana")).id)
        assert inn.guest_disk().boots == boots
        assert inn.leftovers() == []
    task = await inn.ended((await inn.machines.command("web-1", Command.MERGE_UNDO_DISKS, owner="ana")).id)
    assert "has no undo disks" in task.error_description


async def test_a_merge_that_has_begun_can_only_be_finished(inn: Inn, monkeypatch: pytest.MonkeyPatch) -> None:
    """The base is half the new and half the old: to discard then would lose both."""
    await inn.add(MachineState.TURNED_OFF)
    await _take_undo_point(inn)
    with monkeypatch.context() as broken:
        broken.setattr(inn.host.undo_disks, "merge", _no_room)
        failed = await inn.ended(
            (await inn.machines.command("web-1", Command.MERGE_UNDO_DISKS, owner="ana")).id
        )
        assert failed.result is TaskResult.UNEXPECTED_ERROR
    refused = await inn.ended(
        (await inn.machines.command("web-1", Command.DISCARD_UNDO_DISKS, owner="ana")).id
    )
    assert "can only be merged now" in refused.error_description
    assert inn.leftovers() != []
    merged = await inn.ended((await inn.machines.command("web-1", Command.MERGE_UNDO_DISKS, owner="ana")).id)
    assert merged.result is TaskResult.SUCCESS
    assert inn.leftovers() == []


async def _no_room(*_: object) -> None:
    raise HypervisorError("No space left on device.")


async def test_a_cancelled_save_leaves_the_machine_running(inn: Inn) -> None:
    """As its stated effect says."""
    await inn.add(MachineState.RUNNING)
    task = await inn.machines.command("web-1", Command.SAVE, owner="ana")
    await inn.pass_time()
    await inn.tasks.cancel(task.id)
    assert (await inn.ended(task.id)).result is TaskResult.CANCELLED
    assert (await inn.machine()).state is MachineState.RUNNING


async def test_a_busy_machine_is_refused_with_the_task_that_holds_it(inn: Inn) -> None:
    """Whoever comes second learns who was first."""
    await inn.add(MachineState.RUNNING)
    first = await inn.machines.command("web-1", Command.SHUT_DOWN, owner="ana")
    with pytest.raises(MachineBusy) as caught:
        await inn.machines.command("web-1", Command.PAUSE, owner="bob")
    assert caught.value.task_id == first.id
    await inn.ended(first.id)


async def test_a_machine_is_found_whatever_the_case_of_its_letters(inn: Inn) -> None:
    """And one that is nowhere is named in the error."""
    await inn.add(MachineState.RUNNING)
    assert (await inn.machines.get("WEB-1")).name == "web-1"
    with pytest.raises(MachineNotFound) as caught:
        await inn.machines.get("nobody")
    assert caught.value.code is ErrorCode.VM_E_VM_UNKNOWN


async def _take_undo_point(inn: Inn) -> None:
    plan = await plan_undo_point(inn.host, await inn.machine(), _RUN, UndoRules())
    await UndoPoint(inn.host, plan, clock=inn.clock).take(freeze_seconds=10)


async def test_what_is_to_be_known_of_a_start_is_in_the_tasks_log(
    inn: Inn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as that it runs in software emulation, for KVM failed."""
    await inn.add(MachineState.TURNED_OFF)
    start = inn.host.lifecycle.start

    async def start_in_software(name: str, **options: Any) -> str:
        await start(name, **options)
        return f"{name} runs in software emulation"

    monkeypatch.setattr(inn.host.lifecycle, "start", start_in_software)
    task = await inn.ended((await inn.machines.startup("web-1", owner="ana")).id)
    assert [(line.level, line.text) for line in await inn.tasks.log(task.id)] == [
        (LogLevel.WARNING, "web-1 runs in software emulation")
    ]
