"""What is worse in a guest than it was before its update."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Iterable

#: A boot under load takes longer than it usually does, by this factor and these seconds.
_SLACK = 1.5
_SLACK_SECONDS = 30.0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that is worse than before."""

    #: What it is about: ``unit:shop.service``, ``listener:tcp/80``, ``mount:/srv``.
    subject: str
    #: For a person.
    sentence: str
    #: Whether the update is rolled back for it; else it is told, and no more.
    is_fault: bool = True
    #: Whether it may pass by itself, so that it is worth waiting for.
    may_pass: bool = False
    #: What it was before the update, for a person; empty where there is nothing to tell.
    was: str = ""
    #: The unit, or service, whose end and whose log tell more; empty for none.
    unit: str = ""
    #: For how long after its start it usually is so, by the guest's boots before; 0 where nothing is known.
    usual_seconds: int = 0
    #: What the guest says of it: how it ended, and its last words in the journal.
    evidence: tuple[str, ...] = ()
    #: Whether an administrator has said of this machine that it is no fault.
    is_ignored: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """All that is worse, at one look."""

    findings: tuple[Finding, ...] = ()

    @property
    def faults(self) -> tuple[str, ...]:
        """What the update is rolled back for, a sentence each."""
        return tuple(finding.sentence for finding in self.findings if finding.is_fault)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is told, and no reason to roll back, a sentence each."""
        return tuple(finding.sentence for finding in self.findings if not finding.is_fault)

    @property
    def may_pass(self) -> bool:
        """Whether anything of it is worth waiting for."""
        return any(finding.may_pass for finding in self.findings)

    @property
    def patience_seconds(self) -> float:
        """For how long what may pass is worth waiting for, by how the guest usually is."""
        usual = max((each.usual_seconds for each in self.findings if each.may_pass), default=0)
        return _SLACK * usual + _SLACK_SECONDS if usual else 0.0

    def ignoring(self, patterns: Iterable[str]) -> Judgement:
        """Return the same, where what an administrator calls no fault is told, and no more.

        With a unit goes what it listened on.
        """
        wanted = tuple(patterns)
        return Judgement(findings=tuple(_ignored_by(finding, wanted) for finding in self.findings))

    @property
    def is_lasting(self) -> bool:
        """Whether there is a fault that nothing is on its way to mend."""
        return any(finding.is_fault and not finding.may_pass for finding in self.findings)


def _ignored_by(finding: Finding, patterns: tuple[str, ...]) -> Finding:
    names = (finding.subject, f"unit:{finding.unit}") if finding.unit else (finding.subject,)
    by = next((each for each in patterns if any(_is_named(name, each) for name in names)), None)
    if by is None or not finding.is_fault:
        return finding
    return dataclasses.replace(
        finding,
        sentence=f"{finding.sentence.rstrip('.')}, which does not count: “{by}” is ignored for this machine.",
        is_fault=False,
        may_pass=False,
        is_ignored=True,
    )


def _is_named(name: str, pattern: str) -> bool:
    """Whether a pattern names it; a name may itself hold what means something in patterns."""
    return name == pattern or fnmatch.fnmatchcase(name, pattern)
