"""After a run that needs help a machine is maintained again only when a person has dealt with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from innkeeper.errors import MachineError
from innkeeper.machines.machine import MachineState
from innkeeper.tasks.clock import FakeClock
from innkeeper.tasks.task import TaskResult
from innkeeper.updates.booking import Verdict
from innkeeper.updates.checks import Checks
from innkeeper.wire.commands import Command
from tests.updates.inn import Inn


async def _needs_help(directory: Path) -> tuple[Inn, Checks, int]:
    """A machine whose base was written to while it was updated: off, on its base, and its files left."""
    inn = Inn(directory)
    await inn.open()
    await inn.add(MachineState.TURNED_OFF)
    started = await inn.start(context=b"bad")
    await inn.until_phase(started.id, "Updating")
    base = Path(inn.disk(target="vdb"))
    base.write_bytes(b"x" + base.read_bytes()[1:])
    await inn.ended(started.id)
    report = await inn.report(started.id)
    assert report.verdict is Verdict.NEEDS_HELP
    assert report.reasons[-1].endswith("innkeeper machine undo web-1 --discard")
    # As a run that keeps memory leaves it.
    base.with_name(f"web-1.memory.innkeeper-{started.id}").write_text("passwords")
    base.with_name(f"web-1.memory-note.innkeeper-{started.id}").write_text("{}")
    return (
        inn,
        Checks(machines=inn.machines, agents=inn.agents, policy=inn.policy, clock=FakeClock()),
        started.id,
    )


async def test_neither_check_nor_run_goes_on_before_a_person_has(tmp_path: Path) -> None:
    """Both name the task and the command; it deletes everything, and then both go on."""
    inn, checks, task_id = await _needs_help(tmp_path)
    check = await checks.one("web-1")
    error = check.obstacles[0].error
    assert error.sentence.startswith(f"web-1 needs help: task {task_id} has left ")
    assert error.way_out == "innkeeper machine undo web-1 --discard"
    again = await inn.ended((await inn.start(identifier="again")).id)
    assert (await inn.report(again.id)).reasons == (error.sentence,)
    assert len(inn.leftovers()) == 6

    kept = inn.directory / "disks" / f"web-1.other.vda.innkeeper-{task_id}.qcow2"
    kept.write_text("of the machine web-1.other")
    command = await inn.machines.command("web-1", Command.DISCARD_UNDO_DISKS, owner="ana")
    assert (await inn.ended(command.id)).result is TaskResult.SUCCESS
    assert inn.leftovers() == [str(kept)]
    assert (await checks.one("web-1")).can_be_maintained
    done = await inn.ended((await inn.start(identifier="third")).id)
    assert (await inn.report(done.id)).verdict is Verdict.KEPT


async def test_what_is_left_is_neither_merged_nor_gone_back_to(tmp_path: Path) -> None:
    """Going back is refused before there is a task; both name what can be done."""
    inn, _, _ = await _needs_help(tmp_path)
    with pytest.raises(MachineError, match="stands on its own disks again") as refused:
        await inn.machines.command("web-1", Command.GO_BACK_TO_RUNNING, owner="ana")
    assert refused.value.advice.endswith("innkeeper machine undo web-1 --discard")
    merge = await inn.ended((await inn.machines.command("web-1", Command.MERGE_UNDO_DISKS, owner="ana")).id)
    assert "innkeeper machine undo web-1 --discard" in merge.error_description
    assert len(inn.leftovers()) == 6


async def test_without_undo_disks_nothing_is_gone_back_to(tmp_path: Path) -> None:
    """No task is started that can only fail."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    with pytest.raises(MachineError, match="stands on no undo disks"):
        await inn.machines.command("web-1", Command.GO_BACK_TO_RUNNING, owner="ana")
    assert await inn.tasks.list() == []
