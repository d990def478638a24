"""Start again what an update has disturbed: jobs that failed because it held the package manager's lock."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from innkeeper.channels.ports import GuestAgent
from innkeeper.errors import AgentError
from innkeeper.machines.machine import MachineState
from innkeeper.tasks.task import LogLevel
from innkeeper.updates.facts.guest import Healthy
from innkeeper.updates.health import Finding, Judgement
from innkeeper.updates.outcome import Stop
from innkeeper.updates.phase import Run
from innkeeper.wire.guest_facts import Ability


async def disturbed_by(run: Run) -> tuple[str, ...]:
    """The units of such jobs. A guest that cannot say has none."""
    return tuple(await _asked(run, start=False))


def excused(judgement: Judgement, units: Sequence[str]) -> Judgement:
    """The same, where the failure of a job that the update's own lock disturbed is no fault."""
    return Judgement(
        findings=tuple(
            _excuse(each) if each.unit in units and each.subject == f"unit:{each.unit}" else each
            for each in judgement.findings
        )
    )


def told(run: Run, units: Sequence[str]) -> tuple[Finding, ...]:
    """What the report says of them."""
    then = "is started again" if run.found is MachineState.RUNNING else "runs again at its time"
    return tuple(
        Finding(
            subject=f"unit:{unit}",
            sentence=f"The job {unit} failed because the update held the package manager's lock; it {then}.",
            is_fault=False,
            unit=unit,
        )
        for unit in units
    )


async def start_jobs(run: Run) -> None:
    """Start them, once the update stays; a guest that is about to stop again runs them at their time."""
    for unit in await _asked(run, start=True):
        run.task.log(f"The job {unit}, which the update had disturbed, is started again.")


def has_none_to_start(run: Run) -> bool:
    """Whether there is nothing to start again."""
    healthy = run.known(Healthy)
    return healthy is None or not healthy.disturbed or run.found is not MachineState.RUNNING


async def _asked(run: Run, *, start: bool) -> Sequence[str]:
    async def ask(agent: GuestAgent) -> Sequence[str]:
        """Asked again, the guest starts nothing twice."""
        if not agent.knows(Ability.JOBS):
            return ()
        return await agent.disturbed(run.order.identifier, start=start)

    try:
        return await run.ask(ask, seconds=run.policy.answer_seconds)
    except (AgentError, Stop) as error:
        run.task.log(f"Which jobs the update has disturbed is not known: {error}", LogLevel.WARNING)
        return ()


def _excuse(finding: Finding) -> Finding:
    why = ", which does not count: the update held the package manager's lock"
    sentence = f"The unit {finding.unit} has failed{why}."
    return dataclasses.replace(finding, sentence=sentence, is_fault=False, may_pass=False)
