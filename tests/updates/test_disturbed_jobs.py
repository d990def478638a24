"""A job that failed because an update held the package manager's lock is no fault, and is started again."""

from __future__ import annotations

from pathlib import Path

import pytest

from innkeeper.hypervisor.simulated.guests import JOB, Behaviour
from innkeeper.machines.machine import MachineState
from innkeeper.updates.booking import Verdict
from tests.updates.dying_engine import DyingEngine, Moment
from tests.updates.inn import Inn
from tests.updates.test_lost_answers import Lose
from tests.updates.test_lost_answers import lose as lose  # a fixture

STATES = (MachineState.RUNNING, MachineState.PAUSED, MachineState.SAVED, MachineState.TURNED_OFF)


@pytest.mark.parametrize("state", STATES)
async def test_a_disturbed_job_is_told_and_started_again_once(tmp_path: Path, state: MachineState) -> None:
    """In a guest that goes on to run; another one runs it at its time."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(state)
    task = await inn.ended((await inn.start(context=Behaviour.DISTURBS_A_JOB.encode())).id)
    report = await inn.report(task.id)
    assert (report.verdict, report.reasons) == (Verdict.KEPT, ())
    (found,) = report.findings
    then = "is started again" if state is MachineState.RUNNING else "runs again at its time"
    assert (found.subject, found.is_fault) == (f"unit:{JOB}", False)
    assert found.sentence == (
        f"The job {JOB} failed because the update held the package manager's lock; it {then}."
    )
    started = inn.guest_disk().files.get("jobs", "")
    assert started == ("started\n" if state is MachineState.RUNNING else "")


@pytest.mark.parametrize("is_heard", [False, True])
async def test_a_lost_answer_starts_no_job_twice(tmp_path: Path, lose: Lose, is_heard: bool) -> None:
    """It is asked for again."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    lose("disturbed", times=1, is_heard=is_heard)
    task = await inn.ended((await inn.start(context=Behaviour.DISTURBS_A_JOB.encode())).id)
    report = await inn.report(task.id)
    assert (report.verdict, len(report.findings)) == (Verdict.KEPT, 1), report.reasons
    assert inn.guest_disk().files["jobs"] == "started\n"


@pytest.mark.parametrize("moment", Moment)
async def test_a_job_is_started_once_whenever_the_service_dies(tmp_path: Path, moment: Moment) -> None:
    """The run goes on by itself, and asks the guest again."""
    inn = Inn(tmp_path)
    engine = DyingEngine(inn.journal, inn.clock, "jobs", moment)
    await inn.open(engine)
    await inn.add(MachineState.RUNNING)
    started = await inn.start(context=Behaviour.DISTURBS_A_JOB.encode())
    await inn.until_dead(engine)
    await inn.open()
    await inn.ended(started.id)
    assert (await inn.report(started.id)).verdict is Verdict.KEPT
    assert inn.guest_disk().files["jobs"] == "started\n"
    assert inn.leftovers() == []
