"""The form of a scheduled task, to and from its definition.

The form says what most tasks need: one trigger and one action. What it has no field for stays in the
definition as it is; a task with more triggers or actions is edited as XML.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
from collections.abc import Iterator
from typing import Final

from innkeeper.errors import InnkeeperError
from innkeeper.schedule.duration import Duration
from innkeeper.schedule.model.actions import (
    Action,
    ComHandlerAction,
    EmailAction,
    ExecAction,
    ShowMessageAction,
)
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.model.enumerations import ActionType, DaysOfWeek, TriggerType
from innkeeper.schedule.model.triggers import DailyTrigger, TimeTrigger, Trigger, WeeklyTrigger
from innkeeper.server.pages.forms import Form, Mistake, mistake_of_field, wrong
from innkeeper.wire.commands import Command, find_command

#: The days as the form names them, Monday first as people count.
DAYS: Final = tuple(
    (day.name.title(), day)
    for day in (
        DaysOfWeek.MONDAY,
        DaysOfWeek.TUESDAY,
        DaysOfWeek.WEDNESDAY,
        DaysOfWeek.THURSDAY,
        DaysOfWeek.FRIDAY,
        DaysOfWeek.SATURDAY,
        DaysOfWeek.SUNDAY,
    )
    if day.name
)
_OPERATIONS: Final = {command.class_id: command for command in Command}
_TYPES: Final = {"once": TriggerType.TIME, "daily": TriggerType.DAILY, "weekly": TriggerType.WEEKLY}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """The fields of the form, as text."""

    name: str = ""
    description: str = ""
    #: ``once``, ``daily``, ``weekly``, or ``demand`` for no trigger at all.
    when: str = "daily"
    #: As browsers write it: ``2026-11-25T02:00``.
    start: str = ""
    #: Empty for the service's own zone.
    zone: str = ""
    every: str = "1"
    days: tuple[str, ...] = ()
    repeat_minutes: str = ""
    #: ``program`` or ``operation``.
    what: str = "program"
    command: str = ""
    arguments: str = ""
    directory: str = ""
    operation: str = "save"
    machine: str = ""
    limit_minutes: str = ""
    catch_up: bool = False
    enabled: bool = True

    @classmethod
    def of_form(cls, form: Form) -> Draft:
        """Return the draft that was filled in."""
        flags = {"catch_up", "enabled", "days"}
        texts = {
            field.name: form.text(field.name) for field in dataclasses.fields(cls) if field.name not in flags
        }
        return cls(
            **texts,
            days=tuple(form.texts("days")),
            catch_up=form.ticked("catch_up"),
            enabled=form.ticked("enabled"),
        )

    @classmethod
    def of_definition(cls, name: str, definition: TaskDefinition, *, enabled: bool) -> Draft | None:
        """Return the form's view of a definition; ``None`` where it has more than the form can show."""
        triggers, actions = list(definition.triggers), list(definition.actions)
        if len(triggers) > 1 or len(actions) != 1:
            return None
        when = _when(triggers[0]) if triggers else {"when": "demand"}
        action = actions[0]
        what = _what(action) if isinstance(action, ExecAction | ComHandlerAction) else None
        if when is None or what is None:
            return None
        limit = definition.settings.execution_time_limit
        return cls(
            name=name,
            description=definition.registration_info.description or "",
            zone=definition.extension.zone or "",
            limit_minutes=_minutes(limit),
            catch_up=definition.settings.start_when_available,
            enabled=enabled,
            **when,
            **what,  # type: ignore[arg-type]  # as above
        )


class Drafting:
    """Writes a draft into a definition; a bad value is a mistake of its field."""

    def __init__(self, draft: Draft, base: TaskDefinition) -> None:
        self.draft = draft
        self.definition = base
        self.mistakes: list[Mistake] = []
        if not draft.name:
            self.mistakes.append(wrong("name", "A task needs a name.", "Fill in the name."))
        self._about()
        self._when()
        self._what()

    def _about(self) -> None:
        draft, definition = self.draft, self.definition
        definition.registration_info.description = draft.description or None
        definition.settings.enabled = draft.enabled
        definition.settings.start_when_available = draft.catch_up
        with self._field("zone"):
            definition.extension.zone = draft.zone or None
        if draft.limit_minutes:
            with self._field("limit_minutes"):
                definition.settings.execution_time_limit = Duration(f"PT{draft.limit_minutes}M")

    def _when(self) -> None:
        draft, triggers = self.draft, self.definition.triggers
        if draft.when == "demand":
            triggers.clear()
            return
        kind = _TYPES.get(draft.when)
        if kind is None:
            self.mistakes.append(
                wrong("when", f"“{draft.when[:20]}” is not a kind of trigger.", "Choose one.")
            )
            return
        kept = next(iter(triggers), None)
        if kept is None or kept.type is not kind or len(triggers) > 1:
            triggers.clear()
            kept = triggers.create(kind)
        self._start(kept)
        self._every(kept)
        with self._field("repeat_minutes"):
            kept.repetition.interval = (
                Duration(f"PT{draft.repeat_minutes}M") if draft.repeat_minutes else None
            )

    def _start(self, trigger: Trigger) -> None:
        if not self.draft.start:
            self.mistakes.append(wrong("start", "The first start is missing.", "Give a date and a time."))
            return
        with self._field("start"):
            trigger.start_boundary = dt.datetime.fromisoformat(self.draft.start).replace(tzinfo=None)  # type: ignore[assignment]  # taken as a boundary

    def _every(self, trigger: Trigger) -> None:
        with self._field("every"):
            if isinstance(trigger, DailyTrigger):
                trigger.days_interval = int(self.draft.every or 1)
            elif isinstance(trigger, WeeklyTrigger):
                trigger.weeks_interval = int(self.draft.every or 1)
        if isinstance(trigger, WeeklyTrigger):
            chosen = DaysOfWeek(0)
            for name, day in DAYS:
                chosen |= day if name in self.draft.days else DaysOfWeek(0)
            if not chosen:
                self.mistakes.append(wrong("days", "No day of the week is chosen.", "Choose one or more."))
                return
            trigger.days_of_week = chosen

    def _what(self) -> None:
        draft, actions = self.draft, self.definition.actions
        kept = next(iter(actions), None)
        if draft.what == "operation":
            command = find_command(draft.operation)
            if command is None or not draft.machine:
                self.mistakes.append(
                    wrong("machine", "The machine is missing.", "Give the name of a machine.")
                )
                return
            handler = kept if isinstance(kept, ComHandlerAction) else None
            if handler is None:
                actions.clear()
                made = actions.create(ActionType.COM_HANDLER)
                assert isinstance(made, ComHandlerAction)
                handler = made
            handler.class_id, handler.data = command.class_id, draft.machine
            return
        if not draft.command:
            self.mistakes.append(wrong("command", "The program is missing.", "Give the path of a program."))
            return
        program = kept if isinstance(kept, ExecAction) else None
        if program is None:
            actions.clear()
            created = actions.create(ActionType.EXEC)
            assert isinstance(created, ExecAction)
            program = created
        with self._field("command"):
            program.path = draft.command
        program.arguments = draft.arguments or None
        with self._field("directory"):
            program.working_directory = draft.directory or None

    @contextlib.contextmanager
    def _field(self, name: str) -> Iterator[None]:
        try:
            yield
        except InnkeeperError as error:
            self.mistakes.append(mistake_of_field(name, error))
        except (ValueError, OverflowError) as error:
            self.mistakes.append(wrong(name, f"This value is not valid: {error}.", "Give another value."))


def _when(trigger: Trigger) -> dict[str, object] | None:
    """Return the trigger's fields; ``None`` for a trigger that the form cannot show."""
    start = trigger.start_boundary
    repeat = _minutes(trigger.repetition.interval) if trigger.repetition.interval else ""
    if start is None or not start.is_local or trigger.repetition.duration or trigger.end_boundary:
        return None
    shared: dict[str, object] = {"start": f"{start.wall:%Y-%m-%dT%H:%M}", "repeat_minutes": repeat}
    if isinstance(trigger, DailyTrigger):
        return shared | {"when": "daily", "every": str(trigger.days_interval)}
    if isinstance(trigger, WeeklyTrigger):
        days = tuple(name for name, day in DAYS if day in trigger.days_of_week)
        return shared | {"when": "weekly", "every": str(trigger.weeks_interval), "days": days}
    if isinstance(trigger, TimeTrigger):
        return shared | {"when": "once"}
    return None


def _what(action: ExecAction | ComHandlerAction) -> dict[str, str] | None:
    if isinstance(action, ExecAction):
        return {
            "what": "program",
            "command": action.path or "",
            "arguments": action.arguments or "",
            "directory": action.working_directory or "",
        }
    operation = _OPERATIONS.get((action.class_id or "").upper())
    if operation is None:
        return None
    return {"what": "operation", "operation": operation, "machine": action.data or ""}


def _minutes(duration: Duration | None) -> str:
    """Return a duration in minutes; empty where it is none, or no whole number of them."""
    if duration is None or duration.months:
        return ""
    seconds = duration.days * 86_400 + duration.time.total_seconds()
    return str(int(seconds // 60)) if seconds and seconds % 60 == 0 else ""


def message(action: Action) -> str:
    """Return an action in one line."""
    if isinstance(action, ExecAction):
        return f"{action.path} {action.arguments or ''}".rstrip()
    if isinstance(action, ComHandlerAction):
        operation = _OPERATIONS.get((action.class_id or "").upper(), action.class_id or "")
        return f"{operation.replace('_', ' ')} {action.data or ''}".rstrip()
    if isinstance(action, EmailAction):
        return f"mail to {action.to or action.bcc or 'nobody'}: {action.subject or ''}".rstrip()
    return f"message: {action.title or ''}" if isinstance(action, ShowMessageAction) else ""
