"""The service may be killed at any step of an update run: it ends the run, and leaves nothing half done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from innkeeper.errors import TaskNotCancelable
from innkeeper.hypervisor.simulated.guests import Behaviour
from innkeeper.hypervisor.simulated.undo_disks import MERGE_SECONDS
from innkeeper.machines.machine import MachineState
from innkeeper.tasks.task import TaskResult
from innkeeper.updates.booking import BookingState, Verdict
from innkeeper.updates.endings import DROP, KEEP, ROLL_BACK, STAND
from innkeeper.updates.phases import FORWARD
from innkeeper.updates.preparing import PREPARE, PREPARE_AFTER_WAKE
from tests.updates.dying_engine import DyingEngine, Moment
from tests.updates.inn import Before, Inn, settle

STATES = (MachineState.RUNNING, MachineState.PAUSED, MachineState.SAVED, MachineState.TURNED_OFF)
#: Where an update that breaks a unit stops.
_STOPS_AT = "health"
GOOD_STEPS = (*(phase.name for phase in (*FORWARD, *KEEP)), "report")
BAD_STEPS = (
    *(phase.name for phase in FORWARD[: [p.name for p in FORWARD].index(_STOPS_AT) + 1]),
    *(phase.name for phase in ROLL_BACK),
    "report",
)

#: Phases that have nothing to do with machines found like this, and are no steps of their runs.
_IDLE = {
    MachineState.RUNNING: (
        "baseline after wake",
        PREPARE_AFTER_WAKE,
        "rest",
        "forget saved state",
        "let go",
        "jobs",
    ),
    MachineState.PAUSED: ("baseline", PREPARE, "rest", "let go", "jobs"),
    MachineState.SAVED: ("baseline", PREPARE, "rest", "let go", "jobs"),
    MachineState.TURNED_OFF: ("baseline", PREPARE, "forget saved state", "jobs"),
}


def _taken(steps: Sequence[str]) -> list[tuple[MachineState, str]]:
    return [(state, step) for state in STATES for step in steps if step not in _IDLE[state]]


def _up_to(last: str) -> list[str]:
    names = [phase.name for phase in FORWARD]
    return names[: names.index(last) + 1]


#: Runs that change nothing, by how the update goes: of a machine that runs, and of one that is off.
_UNCHANGED = [
    *((MachineState.RUNNING, Behaviour.NO_REPOSITORY, step) for step in (*_up_to(PREPARE), "report")),
    *(
        (MachineState.RUNNING, Behaviour.FAILS_UNCHANGED, step)
        for step in (*_up_to("answer")[-3:], STAND.name, *(phase.name for phase in KEEP), "report")
    ),
    *(
        (MachineState.TURNED_OFF, Behaviour.NO_REPOSITORY, step)
        for step in (PREPARE_AFTER_WAKE, STAND.name, *(phase.name for phase in DROP), "report")
    ),
]


@pytest.mark.parametrize("moment", Moment)
@pytest.mark.parametrize(
    ("state", "behaviour", "step"), [each for each in _UNCHANGED if each[2] not in _IDLE[each[0]]]
)
async def test_a_run_that_changes_nothing_leaves_its_booking_whenever_the_service_dies(
    tmp_path: Path, state: MachineState, behaviour: Behaviour, step: str, moment: Moment
) -> None:
    """After a restart it ends by itself: the guest was not booted again, and the booking waits."""
    inn, before = await _die_and_restart(tmp_path, state, behaviour, step, moment)

    assert (await inn.report(1)).verdict is Verdict.NOT_STARTED
    assert (await inn.booking()).state is BookingState.WAITS
    assert (await inn.machine()).state is state
    assert await inn.host.definitions.read("web-1") == before.definition
    assert inn.leftovers() == []
    assert inn.guest_disk().boots == (1 if state is MachineState.RUNNING else 0)
    inn.assert_state_of_the_disk()
    if state is not MachineState.RUNNING:
        assert inn.content() == before.content


@pytest.mark.parametrize("moment", Moment)
@pytest.mark.parametrize(("state", "step"), _taken(GOOD_STEPS))
async def test_a_good_update_is_kept_whenever_the_service_dies(
    tmp_path: Path, state: MachineState, step: str, moment: Moment
) -> None:
    """After a restart the run goes on by itself, and all is merged, restored and tidied."""
    inn, before = await _die_and_restart(tmp_path, state, Behaviour.NEEDS_REBOOT, step, moment)

    assert (await inn.report(1)).verdict is Verdict.KEPT
    assert (await inn.machine()).state is state
    assert await inn.host.definitions.read("web-1") == before.definition
    assert inn.leftovers() == []
    assert inn.guest_disk().packages["base"] == "1.0-2"
    # Once before or at the wake, and once for the update: no step boots it a second time.
    assert inn.guest_disk().boots == 2
    inn.assert_state_of_the_disk()


@pytest.mark.parametrize("moment", Moment)
@pytest.mark.parametrize(("state", "step"), _taken(BAD_STEPS))
async def test_a_bad_update_is_rolled_back_whenever_the_service_dies(
    tmp_path: Path, state: MachineState, step: str, moment: Moment
) -> None:
    """After a restart the run is rolled back by itself, and the base is the one that was there before."""
    inn, before = await _die_and_restart(tmp_path, state, Behaviour.BAD, step, moment)

    assert (await inn.report(1)).verdict is Verdict.ROLLED_BACK
    assert (await inn.machine()).state is state
    assert await inn.host.definitions.read("web-1") == before.definition
    assert inn.leftovers() == []
    assert inn.guest_disk().packages["base"] == "1.0-1"
    inn.assert_state_of_the_disk()
    if state is not MachineState.RUNNING:
        # A machine that runs again has written to its disks since.
        assert inn.content() == before.content


async def _die_and_restart(
    directory: Path, state: MachineState, behaviour: Behaviour, step: str, moment: Moment
) -> tuple[Inn, Before]:
    """Kill the service at one moment of a run, start it again, and let the run end."""
    inn = Inn(directory)
    engine = DyingEngine(inn.journal, inn.clock, step, moment)
    await inn.open(engine)
    machine = await inn.add(state)
    before = await Before.of(inn, machine)
    started = await inn.start(context=behaviour.encode())
    await inn.until_dead(engine)
    # The chain is one of three things, whenever anybody looks.
    chain = await inn.host.disks.backing_chain((await inn.machine()).disks[0].path)
    assert chain[-1] == inn.disk()
    assert len(chain) <= 2
    await inn.open()
    await inn.ended(started.id)
    return inn, before


async def test_a_machine_held_still_for_a_run_that_goes_no_further_is_resumed(tmp_path: Path) -> None:
    """The service died in that moment, and its window was over when it came back."""
    inn = Inn(tmp_path)
    engine = DyingEngine(inn.journal, inn.clock, "undo point", Moment.BEFORE_THE_ACTION)
    await inn.open(engine)
    await inn.add(MachineState.RUNNING)
    started = await inn.start()
    await inn.until_dead(engine)
    await inn.host.lifecycle.pause("web-1")
    await inn.clock.advance(14400)
    await inn.open()
    await inn.ended(started.id)
    assert (await inn.report(started.id)).verdict is Verdict.NOT_STARTED
    assert (await inn.machine()).state is MachineState.RUNNING
    assert inn.leftovers() == []


async def test_an_update_that_hangs_is_given_up_in_time_however_often_the_service_dies(
    tmp_path: Path,
) -> None:
    """Its time is counted from its beginning, and not from each start of the service."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    started = await inn.start(context=Behaviour.HANG.encode())
    await inn.until_phase(started.id, "Updating")
    began = inn.clock.now()
    for _ in range(2):
        await inn.clock.advance(inn.policy.apply_seconds * 0.45)
        inn.engine.kill()
        await settle()
        await inn.open()
        assert not (await inn.tasks.get(started.id)).is_complete
    await inn.ended(started.id)
    assert (await inn.report(started.id)).verdict is Verdict.ROLLED_BACK
    took_seconds = (inn.clock.now() - began).total_seconds()
    assert took_seconds < inn.policy.apply_seconds + inn.policy.agent_seconds + 120


async def test_an_update_that_ended_while_the_service_was_away_is_heard(tmp_path: Path) -> None:
    """Though its time is over when the service comes back."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    started = await inn.start(context=Behaviour.GOOD.encode())
    await inn.until_phase(started.id, "Updating")
    inn.engine.kill()
    await settle()
    await inn.clock.advance(inn.policy.apply_seconds * 2)
    await inn.open()
    await inn.ended(started.id)
    assert (await inn.report(started.id)).verdict is Verdict.KEPT


async def test_a_merge_that_was_cut_short_is_finished(tmp_path: Path) -> None:
    """Half of it is in the base already: it cannot be cancelled, and goes on after the restart."""
    inn = Inn(tmp_path)
    await inn.open()
    machine = await inn.add(MachineState.TURNED_OFF)
    before = await Before.of(inn, machine)
    started = await inn.start()
    await inn.until_phase(started.id, "Merging the undo disks")
    with pytest.raises(TaskNotCancelable):
        await inn.tasks.cancel(started.id)
    await inn.clock.advance(MERGE_SECONDS / 2)
    inn.engine.kill()
    await settle()
    assert inn.content() != before.content
    assert len(inn.leftovers()) == 4

    await inn.open()
    await inn.ended(started.id)

    assert (await inn.report(started.id)).verdict is Verdict.KEPT
    assert inn.guest_disk().packages["base"] == "1.0-2"
    assert await inn.host.definitions.read("web-1") == before.definition
    assert inn.leftovers() == []


@pytest.mark.parametrize("state", STATES)
async def test_qemu_may_die_in_the_merge(tmp_path: Path, state: MachineState) -> None:
    """The merge is finished with the machine off, and the former state is restored from a fresh boot."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(state)
    started = await inn.start()
    await inn.until_phase(started.id, "Merging the undo disks")
    await inn.host.lifecycle.turn_off("web-1")
    await inn.ended(started.id)

    assert (await inn.report(started.id)).verdict is Verdict.KEPT
    assert (await inn.machine()).state is state
    assert inn.guest_disk().packages["base"] == "1.0-2"
    assert inn.leftovers() == []


async def test_a_roll_back_that_fails_asks_for_help_and_leaves_everything(tmp_path: Path) -> None:
    """Somebody wrote to the base under the overlay: nothing is deleted, and the report says so."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.TURNED_OFF)
    started = await inn.start(context=b"bad")
    await inn.until_phase(started.id, "Updating")
    base = Path(inn.disk(target="vdb"))
    base.write_bytes(b"x" + base.read_bytes()[1:])
    task = await inn.ended(started.id)

    report = await inn.report(started.id)
    assert report.verdict is Verdict.NEEDS_HELP
    assert any("is not what it was before the update" in reason for reason in report.reasons)
    assert task.result is TaskResult.UNEXPECTED_ERROR
    assert len(inn.leftovers()) == 4


async def test_a_base_that_somebody_wrote_to_is_not_merged_into(tmp_path: Path) -> None:
    """The update was good, and merging it would ruin both."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.TURNED_OFF)
    started = await inn.start()
    await inn.until_phase(started.id, "Watching the guest for a while")
    base = Path(inn.disk(target="vdb"))
    changed = b"x" + base.read_bytes()[1:]
    base.write_bytes(changed)
    await inn.ended(started.id)

    assert (await inn.report(started.id)).verdict is Verdict.NEEDS_HELP
    assert base.read_bytes() == changed
