"""Complete what is found worse in a guest: by what is called no fault of it, and by its own evidence."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

from innkeeper.channels.ports import GuestAgent
from innkeeper.errors import AgentError
from innkeeper.updates.health import Finding, Judgement
from innkeeper.updates.outcome import Stop
from innkeeper.updates.phase import Run
from innkeeper.wire.guest_facts import MAX_EVIDENCE_UNITS, Ability

#: What systemd says of a unit of which a process was killed for want of memory.
_OF_MEMORY = re.compile(r"result oom-kill|killed by the OOM killer|Failed with result 'oom-kill'")
#: What the kernel's guards say of what they have denied a unit's program.
_DENIALS = (
    ("AppArmor", re.compile(r'apparmor="DENIED" operation="([^"]*)".*? name="([^"]*)"')),
    ("SELinux", re.compile(r'avc: +denied +\{ ([^}]*) \}.*? (?:path|name)="([^"]*)"')),
)


async def less_the_ignored(run: Run, judgement: Judgement) -> Judgement:
    """Return what counts, by what is ignored for the machine now: that may be said during the run."""
    return judgement.ignoring((await run.state()).ignored) if judgement.faults else judgement


async def with_evidence(run: Run, findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the same with what the guest says of each unit, where it comes first.

    A guest that cannot say is no failure.
    """
    units = [*dict.fromkeys(finding.unit for finding in findings if finding.unit)][:MAX_EVIDENCE_UNITS]
    left = dict(await _evidence(run, units)) if units else {}
    return tuple(_with_its_end(finding, tuple(left.pop(finding.unit, ()))) for finding in findings)


def _with_its_end(finding: Finding, evidence: tuple[str, ...]) -> Finding:
    """The same with its evidence, and in its words what nobody would look for there."""
    sentence = finding.sentence
    if any(_OF_MEMORY.search(line) for line in evidence):
        sentence = f"{sentence.rstrip('.')}: the kernel ran out of memory, and killed it."
    elif denied := next(filter(None, map(_denied, evidence)), ""):
        sentence = f"{sentence.rstrip('.')}: {denied}."
    return dataclasses.replace(finding, sentence=sentence, evidence=evidence)


def _denied(line: str) -> str:
    """What a guard has denied, for a person; empty for other lines."""
    for guard, words in _DENIALS:
        if found := words.search(line):
            return f"{guard} denied it {found[1]} of {found[2]}"
    return ""


async def _evidence(run: Run, units: Sequence[str]) -> Mapping[str, Sequence[str]]:
    async def ask(agent: GuestAgent) -> Mapping[str, Sequence[str]]:
        return await agent.evidence(units) if agent.knows(Ability.EVIDENCE) else {}

    try:
        return await run.ask(ask, seconds=run.policy.answer_seconds)
    except (AgentError, Stop):  # the verdict stands, whatever becomes of the machine meanwhile
        return {}
