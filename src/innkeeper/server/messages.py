"""Domain values as HTTP messages."""

from __future__ import annotations

import datetime as dt

from innkeeper.machines.machine import Machine
from innkeeper.tasks.task import LogLine, Task
from innkeeper.updates.booking import Booking, Report
from innkeeper.updates.checks import Check
from innkeeper.updates.nights import Night
from innkeeper.updates.window import Occurrence, Window
from innkeeper.wire import messages as wire
from innkeeper.wire.states import GuestWay, RollBack, Weekday

#: Below this a guess at the time left says nothing.
_LEAST_PERCENT = 3


def machine_message(
    machine: Machine,
    *,
    way: GuestWay | None,
    task_id: int | None,
    verdict: tuple[bool | None, str] = (None, ""),
    allowed: tuple[str, ...] = (),
    roll_back: RollBack | None = None,
    as_of: dt.datetime | None = None,
) -> wire.MachineMessage:
    """Return a machine as a message."""
    return wire.MachineMessage(
        name=machine.name,
        title=machine.title,
        uuid=machine.uuid,
        host=machine.host,
        host_id=machine.host_id,
        key=machine.key,
        also_on=machine.also_on,
        state=machine.state,
        memory_mib=machine.memory_mib,
        vcpus=machine.vcpus,
        disks=tuple(wire.DiskMessage.model_validate(disk, from_attributes=True) for disk in machine.disks),
        autostart=machine.autostart,
        has_agent_port=machine.has_agent_port,
        has_guest_agent_port=machine.has_guest_agent_port,
        agent_connected=way is not None,
        updates_through=way,
        task_id=task_id,
        labels=machine.labels,
        undoable=machine.undoable,
        can_be_maintained=verdict[0],
        obstacle=verdict[1],
        roll_back=roll_back,
        allowed=allowed,
        as_of=as_of,
    )


def verdict_of(check: Check | None) -> tuple[bool | None, str]:
    """Return whether a machine can be maintained, and what is in the way; ``None`` before the first look."""
    if check is None:
        return None, ""
    return check.can_be_maintained, check.obstacles[0].error.sentence if check.obstacles else ""


def task_message(task: Task, now: dt.datetime, *, waits: str = "") -> wire.TaskMessage:
    """Return a task as a message, with an estimate of the time left, and why it waits."""
    return wire.TaskMessage(
        id=task.id,
        kind=task.kind,
        description=task.description,
        lock=task.lock,
        about=task.about,
        parent_id=task.parent_id,
        owner=task.owner,
        created_at=task.created_at,
        ended_at=task.ended_at,
        phase=task.progress.phase,
        phase_number=task.progress.phase_number,
        phase_count=task.progress.phase_count,
        percent=task.progress.percent,
        percent_completed=task.percent_completed,
        bytes_done=task.progress.bytes_done,
        bytes_total=task.progress.bytes_total,
        seconds_left=_seconds_left(task, now),
        cancel_effect=task.cancel_effect,
        cancel_requested=task.cancel_requested,
        waits=waits,
        is_cancelable=task.is_cancelable,
        is_complete=task.is_complete,
        result=task.result,
        error=task.error,
        error_description=task.error_description,
    )


def _seconds_left(task: Task, now: dt.datetime) -> int | None:
    percent = task.progress.percent
    if task.is_complete or percent is None or percent < _LEAST_PERCENT:
        return None
    return round((now - task.created_at).total_seconds() * (100 - percent) / percent)


def log_message(task_id: int, lines: list[LogLine]) -> wire.LogMessage:
    """Return lines of a task's log as messages."""
    message = tuple(wire.LogLineMessage.model_validate(line, from_attributes=True) for line in lines)
    return wire.LogMessage(task_id=task_id, lines=message)


def update_message(booking: Booking, task: wire.TaskMessage | None) -> wire.UpdateMessage:
    """Return a booking and its run as a message."""
    return wire.UpdateMessage(
        machine=booking.machine,
        key=booking.of,
        identifier=booking.identifier,
        label=booking.label,
        context_bytes=len(booking.context),
        start=booking.start,
        end=booking.end,
        deadline=booking.deadline,
        booked_by=booking.booked_by,
        booked_at=booking.booked_at,
        status=booking.status,
        verdict=booking.verdict,
        reason=booking.reason,
        next_chance=booking.next_chance,
        task_id=booking.task_id,
        task=task,
    )


def report_message(report: Report) -> wire.ReportMessage:
    """Return the report of an update run as a message."""
    return wire.ReportMessage(
        task_id=report.task_id,
        machine=report.machine,
        identifier=report.identifier,
        label=report.label,
        started_at=report.started_at,
        ended_at=report.ended_at,
        verdict=report.verdict,
        reasons=report.reasons,
        packages=tuple(
            wire.PackageMessage.model_validate(change, from_attributes=True) for change in report.packages
        ),
        phases=tuple(wire.PhaseMessage(name=name, seconds=seconds) for name, seconds in report.phase_seconds),
        found_state=report.found_state,
        left_state=report.left_state,
        reboots=report.reboots,
        checksums=tuple(
            wire.ChecksumMessage.model_validate(checksum, from_attributes=True)
            for checksum in report.checksums
        ),
        undo_point=report.undo_point,
        reboot_words=report.reboot_words,
        findings=tuple(
            wire.FindingMessage.model_validate(finding, from_attributes=True) for finding in report.findings
        ),
        proof=report.proof,
        proof_words=report.proof_words,
    )


def window_of(request: wire.WindowRequest) -> Window:
    """Return the window that a request describes."""
    return Window(
        name=request.name,
        zone=request.zone,
        start=request.opens_at,
        duration=dt.timedelta(seconds=request.duration_seconds),
        weekdays=frozenset(request.weekdays),
        dates=frozenset(request.dates),
        machines=request.machines,
        blackouts=frozenset(request.blackouts),
    )


def window_message(window: Window, now: dt.datetime) -> wire.WindowMessage:
    """Return a window as a message, with its openings around ``now``."""
    return wire.WindowMessage(
        name=window.name,
        machines=window.machines,
        zone=window.zone,
        opens_at=window.start,
        duration_seconds=round(window.duration.total_seconds()),
        weekdays=tuple(day for day in Weekday if day in window.weekdays),
        dates=tuple(sorted(window.dates)),
        blackouts=tuple(sorted(window.blackouts)),
        open_now=_opening(window.occurrence(now)),
        next=_opening(window.next_after(now)),
    )


def _opening(occurrence: Occurrence | None) -> wire.OpeningMessage | None:
    return None if occurrence is None else wire.OpeningMessage(start=occurrence.start, end=occurrence.end)


def tonight_message(night: Night) -> wire.TonightMessage:
    """Return the plan of the night as a message."""
    return wire.TonightMessage(
        at=night.at,
        until=night.until,
        fits=night.fits,
        entries=tuple(
            wire.PlannedMessage.model_validate(entry, from_attributes=True) for entry in night.entries
        ),
    )
