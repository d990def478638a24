"""The phases of an update run that look at the guest's health: before its update, and after it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from innkeeper.channels.ports import GuestAgent, HealthReport
from innkeeper.errors import AgentError
from innkeeper.machines.machine import MachineState
from innkeeper.tasks.task import LogLevel
from innkeeper.tasks.waiting import until
from innkeeper.updates import health
from innkeeper.updates.console import panics
from innkeeper.updates.console_of import console_of
from innkeeper.updates.facts.guest import Applied, Baseline, Healthy, Rebooted, Soaked
from innkeeper.updates.findings import less_the_ignored, with_evidence
from innkeeper.updates.foreign_acts import though_stopped
from innkeeper.updates.jobs import disturbed_by, excused
from innkeeper.updates.jobs import told as told_of_jobs
from innkeeper.updates.outcome import Cause, Stop
from innkeeper.updates.phase import Run
from innkeeper.updates.proof import finding_of
from innkeeper.updates.proving import prove
from innkeeper.updates.reboots import LOOP
from innkeeper.wire.guest_facts import Ability

#: A fault that nothing is on its way to mend has this long to pass after all.
_LASTING_SECONDS = 30.0
#: A guest in which services have been started again is watched anew, so often in all.
_MOST_WATCHES = 3


async def look_before(run: Run) -> Baseline | None:
    """Take the baseline of a running guest; one that does not answer is left alone."""
    if run.found is not MachineState.RUNNING:
        return None
    try:
        agent = await run.agent(run.policy.answer_seconds)
        return await _baseline_by(run, agent, had_agent=True)
    except AgentError as error:
        raise Stop.by(error, Cause.UNFIT) from error


async def look_first(run: Run) -> Baseline | None:
    """Take the baseline of a guest that had to be woken."""
    if run.baseline is not None:
        return None
    return await _baseline_by(run, await run.agent(run.policy.agent_seconds), had_agent=False)


async def look_after(run: Run) -> Healthy:
    """Compare the guest's health with the baseline; what may pass by itself has a while to do so."""
    return await though_stopped(run, lambda: _look_after(run))


async def _look_after(run: Run) -> Healthy:
    disturbed = await disturbed_by(run)
    report, judgement = await _expect_health(run, _Boots(run, most_new=LOOP - 1), disturbed)
    _warn(run, judgement.warnings)
    others = [each for each in judgement.findings if each.unit not in disturbed]
    findings = await with_evidence(run, [*others, *told_of_jobs(run, disturbed)])
    return Healthy(healthy_boot=report.boot_id, findings=findings, disturbed=disturbed)


async def soak(run: Run) -> Soaked:
    """Watch the guest for a while, and longer where a service has been started again meanwhile.

    A guest that was reset or stopped by somebody is watched anew, from the first watch on; one that boots
    again and again is not well.
    """
    earlier = await though_stopped(run, lambda: run.ask(health_of))
    boots = _Boots(run, first=run.fact(Healthy).healthy_boot, most_new=1)
    told = {finding.sentence for finding in run.fact(Healthy).findings}
    found: list[health.Finding] = []
    suspected, left, resets = frozenset[str](), _MOST_WATCHES, 0
    evidence = await prove(run, run.policy.soak_seconds)
    while True:
        later, judgement = await though_stopped(
            run, lambda: _expect_health(run, boots, run.fact(Healthy).disturbed)
        )
        left -= 1
        if boots.resets > resets:
            resets, left, suspected = boots.resets, _MOST_WATCHES, frozenset()
            found = [*found, _rebooted_once()]
            _warn(run, [found[-1].sentence])
        else:
            loops = await less_the_ignored(
                run, health.Judgement(findings=health.restarting(_baseline(run), earlier, later, suspected))
            )
            found = [*found, *judgement.findings, *loops.findings]
            _warn(run, [each for each in (*judgement.warnings, *loops.warnings) if each not in told])
            told.update(finding.sentence for finding in found)
            if loops.is_lasting:
                raise await _stop_for(run, loops)
            if not (loops.may_pass and left):
                break
            suspected = frozenset(finding.subject for finding in loops.findings)
        earlier = later
        await run.clock.sleep(run.policy.soak_seconds)
    new = [each for each in found if not each.is_fault and each.unit not in run.fact(Healthy).disturbed]
    return Soaked(findings=(*await with_evidence(run, new), *finding_of(evidence)), evidence=evidence)


class _Boots:
    """A guest's boots while it is looked at, by its own word and by what its host tells of resets."""

    def __init__(self, run: Run, *, first: str = "", most_new: int) -> None:
        """Begin with its ``first`` boot, else with that of the first look; more new ones are a loop."""
        self._run = run
        self._boot = first
        self._since = run.phase_began_at
        self._most_new = most_new
        self._new = 0
        #: How often it was reset, or has rebooted, as far as that is a matter of once or more.
        self.resets = 0

    async def note(self, report: HealthReport, judgement: health.Judgement) -> bool:
        """Note what a look has found, and return whether it is another boot; raises ``Stop`` for a loop.

        Only its host can tell of several boots between two looks, and counts a firmware's own resets too.
        """
        is_new = self._boot not in ("", report.boot_id)
        self._boot, self._new = report.boot_id, self._new + is_new
        seen = self._run.reboots.seen(self._run.order.of_machine, self._since).reboots
        self.resets = max(self._new, min(seen, 1))
        is_loop = self._new > self._most_new or seen >= LOOP
        if is_loop or (self.resets and await _has_panicked(self._run)):
            raise await _stop_for(self._run, judgement, "The guest has rebooted by itself after the update.")
        return is_new


async def _baseline_by(run: Run, agent: GuestAgent, *, had_agent: bool) -> Baseline:
    return Baseline(
        report=await _settled_health(run),
        had_agent=had_agent,
        can_prepare=agent.knows(Ability.PREPARE),
        away_seconds=agent.hello.away_seconds,
    )


async def _settled_health(run: Run) -> HealthReport:
    """The guest's health once it has booted; one that never settles is taken as it is."""
    reports: list[HealthReport] = []
    is_first = run.baseline is None

    async def is_settled() -> bool:
        reports.append(await run.ask(_health_and_history_of if is_first else health_of))
        return health.is_settled(reports[-1])

    await until(run.clock, is_settled, every=run.policy.poll_seconds, seconds=run.agent_seconds)
    return reports[-1]


async def health_of(agent: GuestAgent) -> HealthReport:
    """Return the guest's own report."""
    return await agent.health()


async def _health_and_history_of(agent: GuestAgent) -> HealthReport:
    return await agent.health(history=True)


async def _expect_health(
    run: Run, boots: _Boots, disturbed: tuple[str, ...] = ()
) -> tuple[HealthReport, health.Judgement]:
    """Compare until nothing is worse that may pass, or its time is up; raises ``Stop`` for faults."""
    report, judgement = await _compare(run, disturbed)
    await boots.note(report, judgement)
    began = run.clock.monotonic()  # the guest has booted by now
    while True:
        waited = run.clock.monotonic() - began
        patience = max(run.policy.health_seconds, judgement.patience_seconds)
        is_over = waited >= patience or (judgement.is_lasting and waited >= _LASTING_SECONDS)
        if is_over and judgement.faults:
            raise await _stop_for(run, judgement)
        if is_over or not (judgement.may_pass or judgement.faults):
            return report, judgement
        await run.clock.sleep(run.policy.poll_seconds)
        report, judgement = await _compare(run, disturbed)
        if await boots.note(report, judgement):
            began = run.clock.monotonic()


async def _compare(run: Run, disturbed: tuple[str, ...]) -> tuple[HealthReport, health.Judgement]:
    report = await _settled_health(run)
    rebooted = run.fact(Rebooted).rebooted or run.fact(Applied).saw_reboot
    judgement = health.judge(_baseline(run), report, must_have_rebooted=rebooted)
    return report, await less_the_ignored(run, excused(judgement, disturbed))


async def _stop_for(run: Run, judgement: health.Judgement, *reasons: str) -> Stop:
    findings = await with_evidence(run, judgement.findings)
    faults = [finding.sentence for finding in findings if finding.is_fault]
    return Stop(Cause.FAILED, *faults, *reasons, findings=findings)


async def _has_panicked(run: Run) -> bool:
    """Whether the host, or the guest's console, says that its kernel crashed."""
    seen = run.reboots.seen(run.order.of_machine, run.order.started_at)
    return seen.crashes > 0 or await asyncio.to_thread(panics, await console_of(run)) > 0


def _rebooted_once() -> health.Finding:
    return health.Finding(
        subject="boot",
        sentence="The guest was reset, or has rebooted, while it was watched, and is well again.",
        is_fault=False,
    )


def _warn(run: Run, warnings: Sequence[str]) -> None:
    for warning in warnings:
        run.task.log(warning, LogLevel.WARNING)


def _baseline(run: Run) -> HealthReport:
    if run.baseline is None:
        raise AssertionError("an update is never applied without a record of the guest's health before it")
    return run.baseline
