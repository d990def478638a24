"""Triggers, actions and settings of scheduled tasks in words."""

from __future__ import annotations

from innkeeper.cli.times import say_duration
from innkeeper.schedule.duration import Duration
from innkeeper.schedule.model import triggers as t
from innkeeper.schedule.model.actions import (
    Action,
    ComHandlerAction,
    EmailAction,
    ExecAction,
    ShowMessageAction,
)
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.model.enumerations import DaysOfMonth, DaysOfWeek, InstancesPolicy, Months

_POLICIES = {
    InstancesPolicy.PARALLEL: "start another beside it",
    InstancesPolicy.QUEUE: "wait until it has ended",
    InstancesPolicy.IGNORE_NEW: "",
    InstancesPolicy.STOP_EXISTING: "stop it, and start anew",
}
_EVERY_DAY = 7
_EVERY_MONTH = 12


def say_trigger(trigger: t.Trigger) -> str:
    """When a trigger starts its task: ``every day at 02:00, up to 30 min later``."""
    parts = [_rule(trigger)]
    repetition = trigger.repetition
    if repetition.interval is not None:
        span = "" if repetition.duration is None else f" for {_length(repetition.duration)}"
        parts.append(f"again every {_length(repetition.interval)}{span}")
    delay = getattr(trigger, "random_delay", None)
    if delay is not None and not delay.is_zero:
        parts.append(f"up to {_length(delay)} later by chance")
    after = getattr(trigger, "delay", None)
    if after is not None and not after.is_zero:
        parts.append(f"{_length(after)} later")
    if trigger.end_boundary is not None:
        parts.append(f"until {_moment(trigger.end_boundary)}")
    return ", ".join(parts) + ("" if trigger.enabled else " (disabled)")


def _rule(trigger: t.Trigger) -> str:
    match trigger:
        case t.TimeTrigger():
            return f"at {_moment(trigger.start_boundary or '')}"
        case t.DailyTrigger():
            days = "every day" if trigger.days_interval == 1 else f"every {trigger.days_interval} days"
            return f"{days} at {_clock(trigger)}"
        case t.WeeklyTrigger():
            weeks = "" if trigger.weeks_interval == 1 else f" every {trigger.weeks_interval} weeks"
            return f"{_days(trigger.days_of_week)}{weeks} at {_clock(trigger)}"
        case t.MonthlyTrigger():
            return (
                f"on day {_month_days(trigger.days_of_month)} of {_months(trigger.months_of_year)}"
                f" at {_clock(trigger)}"
            )
        case t.MonthlyDOWTrigger():
            weeks = ", ".join(str(week.name).lower() for week in trigger.weeks_of_month)
            return (
                f"the {weeks} {_days(trigger.days_of_week)} of {_months(trigger.months_of_year)}"
                f" at {_clock(trigger)}"
            )
    return _happening(trigger)


def _happening(trigger: t.Trigger) -> str:
    match trigger:
        case t.BootTrigger():
            return "when the computer has started"
        case t.LogonTrigger():
            return f"when {trigger.user_id or 'anyone'} logs on"
        case t.IdleTrigger():
            return "when the computer becomes idle"
        case t.RegistrationTrigger():
            return "when the task is registered"
        case t.SessionStateChangeTrigger():
            change = "changes" if trigger.state_change is None else trigger.state_change.name
            return f"at a session's {change.lower().replace('_', ' ')}"
        case t.EventTrigger():
            return f"at an event of {' '.join((trigger.subscription or '').split())[:120]}"
    return f"by a {trigger.tag}, which is not available here"


def say_action(action: Action, operations: dict[str, str]) -> str:
    """Describe an action in words; ``operations`` are Innkeeper's own, by class id in capitals."""
    match action:
        case ExecAction():
            return " ".join(part for part in (action.path, action.arguments) if part)
        case ComHandlerAction():
            class_id = (action.class_id or "").upper()
            return f"{operations.get(class_id, class_id)} {action.data or ''}".strip()
        case EmailAction():
            return f"e-mail to {action.to or action.cc}: {action.subject or ''}"
        case ShowMessageAction():
            return f"parts: {action.title or ''} {action.message_body or ''}"
    return action.tag


def say_settings(definition: TaskDefinition) -> list[str]:
    """What is unusual about how a task runs."""
    settings, parts = definition.settings, []
    limit = settings.execution_time_limit
    parts.append("no time limit" if limit is None or limit.is_zero else f"stopped after {_length(limit)}")
    if _POLICIES[settings.multiple_instances]:
        parts.append(f"while one runs: {_POLICIES[settings.multiple_instances]}")
    if settings.start_when_available:
        parts.append("a missed start is made up for")
    if settings.restart_count and settings.restart_interval is not None:
        parts.append(
            f"tried {settings.restart_count} times again, every {_length(settings.restart_interval)}"
        )
    conditions = {
        "not on batteries": settings.disallow_start_if_on_batteries,
        "only with a network": settings.run_only_if_network_available,
        "only when idle": settings.run_only_if_idle,
        "wakes the computer": settings.wake_to_run,
        "not by hand": not settings.allow_demand_start,
    }
    return parts + [words for words, holds in conditions.items() if holds]


def _length(duration: Duration) -> str:
    return say_duration(duration.nominal.total_seconds())


def _clock(trigger: t.Trigger) -> str:
    start = trigger.start_boundary
    if start is None:
        return "–"
    clock = f"{start.wall:%H:%M:%S}".removesuffix(":00")
    return clock if start.is_local else f"{clock} {start[19:].lstrip('.0123456789')}"


def _moment(text: str) -> str:
    return text.replace("T", " ").removesuffix(":00") if text.count(":") == 2 else text.replace("T", " ")


def _days(days: DaysOfWeek) -> str:
    names = [str(day.name)[:3].capitalize() for day in days]
    return "every day" if len(names) == _EVERY_DAY else ", ".join(names)


def _months(months: Months) -> str:
    names = [str(month.name)[:3].capitalize() for month in months]
    return "every month" if len(names) == _EVERY_MONTH else ", ".join(names)


def _month_days(days: DaysOfMonth) -> str:
    names = [str(day.name).removeprefix("DAY_").lower() for day in days]
    return ", ".join("the last" if name == "last" else name for name in names)
