"""What is worse in a guest than it was before its update."""

from __future__ import annotations

import dataclasses


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
    def is_lasting(self) -> bool:
        """Whether there is a fault that nothing is on its way to mend."""
        return any(finding.is_fault and not finding.may_pass for finding in self.findings)
