"""Bring a task's progress forward, and never back."""

from __future__ import annotations

import dataclasses

from innkeeper.tasks.task import Progress


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What the work says about its progress; ``None`` where it says nothing."""

    phase: str | None = None
    #: The phase's number, from 1, and how many there are.
    number: int | None = None
    count: int | None = None
    #: 0 to 100, of the whole task.
    percent: int | None = None
    #: Of this phase.
    bytes_done: int | None = None
    bytes_total: int | None = None


def advanced(progress: Progress, report: Report) -> Progress:
    """``progress`` with ``report`` taken in.

    A phase that lies behind is left unsaid: it comes from a run that goes over its journal again after a
    crash. Bytes belong to a phase, and begin anew with the next one.
    """
    percent = _later(progress.percent, None if report.percent is None else min(100, report.percent))
    if report.number is not None and report.number < progress.phase_number:
        return dataclasses.replace(progress, percent=percent)
    same_phase = _is_same_phase(progress, report)
    return Progress(
        phase=progress.phase if report.phase is None else report.phase,
        phase_number=progress.phase_number if report.number is None else report.number,
        phase_count=progress.phase_count if report.count is None else report.count,
        percent=percent,
        bytes_done=_later(progress.bytes_done if same_phase else None, report.bytes_done),
        bytes_total=report.bytes_total
        if report.bytes_total is not None
        else (progress.bytes_total if same_phase else None),
    )


def _is_same_phase(progress: Progress, report: Report) -> bool:
    if report.number is not None and report.number != progress.phase_number:
        return False
    return report.phase is None or report.phase == progress.phase


def _later(old: int | None, new: int | None) -> int | None:
    if old is None or new is None:
        return old if new is None else max(0, new)
    return max(old, new)
