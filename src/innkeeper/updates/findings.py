"""Complete what is found worse in a guest: by what is called no fault of it, and by its own evidence."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from innkeeper.channels.ports import GuestAgent
from innkeeper.errors import AgentError
from innkeeper.updates.health import Finding, Judgement
from innkeeper.updates.outcome import Stop
from innkeeper.updates.phase import Run
from innkeeper.wire.guest_facts import MAX_EVIDENCE_UNITS, Ability


async def less_the_ignored(run: Run, judgement: Judgement) -> Judgement:
    """Return what counts, by what is ignored for the machine now: that may be said during the run."""
    return judgement.ignoring((await run.state()).ignored) if judgement.faults else judgement


async def with_evidence(run: Run, findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the same with what the guest says of each unit, where it comes first.

    A guest that cannot say is no failure.
    """
    units = [*dict.fromkeys(finding.unit for finding in findings if finding.unit)][:MAX_EVIDENCE_UNITS]
    left = dict(await _evidence(run, units)) if units else {}
    return tuple(
        dataclasses.replace(finding, evidence=tuple(left.pop(finding.unit, ()))) for finding in findings
    )


async def _evidence(run: Run, units: Sequence[str]) -> Mapping[str, Sequence[str]]:
    async def ask(agent: GuestAgent) -> Mapping[str, Sequence[str]]:
        return await agent.evidence(units) if agent.knows(Ability.EVIDENCE) else {}

    try:
        return await ask(await run.agent(run.policy.answer_seconds))
    except (AgentError, Stop):  # the verdict stands, whatever becomes of the machine meanwhile
        return {}
