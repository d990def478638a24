"""See that an update takes effect: what runs old files is restarted, or told."""

from __future__ import annotations

from collections.abc import Sequence

from innkeeper.channels.guest_details import Effect, StaleProgram
from innkeeper.channels.ports import GuestAgent
from innkeeper.errors import AgentError
from innkeeper.tasks.task import LogLevel
from innkeeper.updates.health import Finding
from innkeeper.updates.phase import Run
from innkeeper.updates.policy import RestartPolicy
from innkeeper.wire.guest_facts import Ability

#: What was just told to restart has let go of its old files by then.
_RESTART_SECONDS = 15.0


async def effect_of(run: Run) -> Effect:
    """Return what has not taken effect; that an agent cannot say is no fault of the update."""

    async def ask(agent: GuestAgent) -> Effect:
        return await agent.effect() if agent.knows(Ability.EFFECT) else Effect()

    try:
        # An answer may well be lost: a new libc restarts the guest's agent, as everything else.
        return await run.ask(ask, seconds=run.policy.answer_seconds)
    except AgentError as error:
        run.task.log(f"Whether the update has taken effect is not known: {error.sentence}", LogLevel.WARNING)
        return Effect()


async def take_effect(run: Run, effect: Effect) -> tuple[Finding, ...]:
    """Restart what runs old files, where the policy says so; returns what still does, and why it matters."""
    units = sorted({one.unit for one in effect.stale if one.unit})
    if run.policy.restart is RestartPolicy.NEEDED and units and await _restart(run, units):
        await run.clock.sleep(_RESTART_SECONDS)
        effect = await effect_of(run)
    waiting = [_reboot(effect.reboot)] if effect.reboot else []
    findings = (*waiting, *map(_stale, effect.stale))
    for finding in findings:
        run.task.log(finding.sentence, LogLevel.WARNING)
    return findings


async def _restart(run: Run, units: Sequence[str]) -> bool:
    """Begin to restart them; what cannot be is told as what still runs old files.

    Returns whether any may be under way: an answer that is lost may have been a yes.
    """
    try:
        agent = await run.agent(run.policy.answer_seconds)
        restarted = ", ".join(await agent.restart_units(units))
    except AgentError as error:
        run.task.log(f"Whether services were restarted is not known: {error.sentence}", LogLevel.WARNING)
        return True
    if restarted:
        run.task.log(f"Restarting what still runs old files: {restarted}.")
    return bool(restarted)


def _reboot(why: str) -> Finding:
    return Finding(
        subject="boot", sentence=f"The update takes effect with the next reboot: {why}.", is_fault=False
    )


def _stale(one: StaleProgram) -> Finding:
    who = f"{one.program} of {one.unit}" if one.unit else one.program
    return Finding(
        subject=f"stale:{one.unit or one.program}",
        sentence=f"{who} still runs the old {one.path}: the update takes effect there with its restart.",
        is_fault=False,
    )
