"""Write the report of an update run, from what its phases have found out."""

from __future__ import annotations

import dataclasses

from innkeeper.tasks.ports import Clock
from innkeeper.updates.booking import Report, Verdict
from innkeeper.updates.facts.ending import Left, Merged, Tidied, Verified
from innkeeper.updates.facts.guest import Applied, Begun, Healthy, Printed, Rebooted, Soaked
from innkeeper.updates.facts.machine import Admitted
from innkeeper.updates.health import Finding
from innkeeper.updates.memory_phases import undo_point_words
from innkeeper.updates.outcome import Outcome
from innkeeper.updates.phase import Run
from innkeeper.updates.phases import REBOOT, UPDATE
from innkeeper.updates.reboots import Reboots


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """What became of a run."""

    verdict: Verdict
    #: What stopped the way forward; ``None`` where nothing did.
    stop: Outcome | None
    #: What kept the ending itself from its end.
    trouble: Outcome | None = None

    @property
    def is_undone(self) -> bool:
        """Whether the machine's disks went back to what they were, or are still to go back."""
        return self.verdict in (Verdict.ROLLED_BACK, Verdict.NEEDS_HELP)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why, in sentences."""
        outcomes = [outcome for outcome in (self.stop, self.trouble) if outcome is not None]
        return tuple(reason for outcome in outcomes for reason in outcome.reasons)


def reboots_of(run: Run, panics: int) -> Reboots:
    """The reboots of the night, each by whose wish it was."""
    applied, rebooted, asked = run.known(Applied), run.known(Rebooted), run.outcomes.get(REBOOT)
    seen = sum(outcome.reboots for outcome in run.outcomes.values())
    # One that never came back from it has told nothing.
    was_asked = asked is not None and rebooted is None and asked.reboots > 0
    ours = int(was_asked)
    if rebooted is not None and rebooted.rebooted:
        # A system that goes down more than once for one update comes back from that wish.
        ours = max(1, asked.reboots if asked is not None else 0)
    begun = run.known(Begun)
    of_update = int(
        (applied is not None and applied.saw_reboot)
        or (seen > 0 and begun is not None and begun.was_rebooting)
    )
    if applied is not None and applied.saw_reboot:
        of_update = max(of_update, run.outcomes[UPDATE].reboots)
    return Reboots(
        ours=ours,
        of_update=of_update,
        by_itself=max(seen - ours - of_update, 0),
        crashes=max(sum(outcome.crashes for outcome in run.outcomes.values()), panics),
    )


def _after_probation(run: Run) -> tuple[str, ...]:
    merged = run.known(Merged)
    if merged is None or not merged.held_by or merged.merged_at is None:
        return ()
    at = f"{merged.merged_at:%Y-%m-%d %H:%M} UTC"
    if not run.is_decided:
        return (f"Its undo disks, which hold no update, were held until {at}: “{merged.held_by}”.",)
    return (f"It was on probation until {at}, as its merge was held up: “{merged.held_by}”.",)


def _left_otherwise(run: Run, left: Left | None) -> tuple[str, ...]:
    """What somebody has made of the machine, where it is not in the state that it was found in."""
    if left is None or left.remark or left.state is run.found:
        return (left.remark,) if left is not None and left.remark else ()
    was, now = run.found.words, left.state.words
    return (f"{run.title} was found {was}, and somebody has started it meanwhile: it is left {now}.",)


def _quoted(said: Printed) -> tuple[str, ...]:
    lines = "”, “".join(said.lines)
    return (f"Its console said: “{lines}”.",) if lines else ()


def report_of(run: Run, ending: Ending, frozen: tuple[str, ...], said: Printed, *, now: Clock) -> Report:
    """Return the report; ``frozen`` and ``said`` are what guest and console are found to say at the end."""
    admitted, left = run.known(Admitted), run.known(Left)
    tidied, soaked = run.known(Tidied), run.known(Soaked)
    evidence = soaked.evidence if soaked else None
    applied, verified = run.known(Applied), run.known(Verified)
    reboots = reboots_of(run, said.panics)
    return Report(
        task_id=run.task.id,
        machine=run.title,
        key=run.order.key,
        identifier=run.order.identifier,
        label=run.order.label,
        started_at=run.order.started_at,
        ended_at=now.now(),
        verdict=ending.verdict,
        reasons=(
            *ending.reasons,
            *_after_probation(run),
            *_left_otherwise(run, left),
            *reboots.sentences,
            *_quoted(said),
            *frozen,
            *((ending.trouble.advice,) if ending.trouble and ending.trouble.advice else ()),
            *(admitted.plan.gaps if admitted and ending.is_undone else ()),
            *(tidied.backups.lost if tidied else ()),
        ),
        packages=applied.packages if applied else (),
        phase_seconds=tuple((name, outcome.seconds) for name, outcome in run.outcomes.items()),
        found_state=admitted.found.name if admitted else "",
        left_state=left.state.name if left else "",
        reboots=reboots.count,
        reboot_words=reboots.words,
        checksums=tuple(each for each in verified.checksums if each.before) if verified else (),
        undo_point=undo_point_words(run),
        findings=_findings_of(run),
        proof=evidence.proof if evidence else None,
        proof_words=evidence.words if evidence else "",
    )


def _findings_of(run: Run) -> tuple[Finding, ...]:
    """What the phases found worse in the guest, each once, as it was seen last."""
    rebooted, healthy, soaked = run.known(Rebooted), run.known(Healthy), run.known(Soaked)
    seen = (
        *(rebooted.findings if rebooted else ()),
        *(healthy.findings if healthy else ()),
        *(soaked.findings if soaked else ()),
        *(finding for outcome in run.outcomes.values() for finding in outcome.findings),
    )
    return tuple({finding.subject: finding for finding in seen}.values())
