"""The events of tasks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from innkeeper.tasks.task import LogLine, Task
from innkeeper.wire.events import Event, EventKind, Json


def task_created(task: Task) -> Event:
    """``task.created``: it is written down, and will run."""
    return _event(EventKind.TASK_CREATED, task, task.created_at)


def task_changed(task: Task, at: dt.datetime) -> Event:
    """``task.changed``: its progress, its cancel or the effect of one."""
    return _event(EventKind.TASK_CHANGED, task, at)


def task_ended(task: Task, at: dt.datetime) -> Event:
    """``task.ended``: it has a result."""
    return _event(EventKind.TASK_ENDED, task, at)


def task_logged(line: LogLine) -> Event:
    """``task.logged``: its log has one more line."""
    data: Mapping[str, Json] = {"number": line.number, "level": line.level.value, "text": line.text}
    return Event(kind=EventKind.TASK_LOGGED, subject=str(line.task_id), at=line.at, data=data)


def _event(kind: EventKind, task: Task, at: dt.datetime) -> Event:
    return Event(kind=kind, subject=str(task.id), at=at, data=_as_json(task))


def _as_json(task: Task) -> Mapping[str, Json]:
    progress = task.progress
    return {
        "id": task.id,
        "kind": task.kind,
        "description": task.description,
        "lock": task.lock,
        "about": task.about,
        "parent_id": task.parent_id,
        "owner": task.owner,
        "phase": progress.phase,
        "phase_number": progress.phase_number,
        "phase_count": progress.phase_count,
        "percent": progress.percent,
        "bytes_done": progress.bytes_done,
        "bytes_total": progress.bytes_total,
        "cancel_effect": task.cancel_effect.value,
        "cancel_requested": task.cancel_requested,
        "result": None if task.result is None else int(task.result),
        "error": task.error,
        "error_description": task.error_description,
    }
