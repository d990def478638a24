"""Due and missed starts of a task."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import random
import uuid
from collections.abc import Callable, Iterator, Mapping

from innkeeper.schedule.calendar.named import NamedCalendar
from innkeeper.schedule.calendar.recurrence import Recurrence
from innkeeper.schedule.model import triggers as t
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.model.enumerations import TriggerType
from innkeeper.schedule.model.plan import Plan
from innkeeper.schedule.ports import Claim
from innkeeper.schedule.registered import Registered, Run, RunState, Series, Watch
from innkeeper.schedule.running.random_delay import random_delay

#: A start that is later than this was missed: the service did not run, or the computer slept.
GRACE = dt.timedelta(seconds=60)
#: How long a missed start waits once the service is back (documented: 10 minutes).
CATCH_UP_DELAY = dt.timedelta(minutes=10)
#: More missed starts than this are not counted one by one.
_MOST_COUNTED = 10_000
#: Ids are unique and no secrets: not each is worth a call of the kernel.
_NUMBERS = random.Random()  # noqa: S311
_WATCHES = {
    TriggerType.EVENT: Watch.EVENT,
    TriggerType.BOOT: Watch.BOOT,
    TriggerType.LOGON: Watch.LOGON,
    TriggerType.SESSION_STATE_CHANGE: Watch.SESSION,
    TriggerType.IDLE: Watch.IDLE,
}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """One start that a trigger asks for."""

    trigger: int
    #: The run by the calendar.
    occurrence: dt.datetime
    #: With its random delay.
    due: dt.datetime


def next_due(
    task: Registered, definition: TaskDefinition, *, home: dt.tzinfo, calendars: Mapping[str, NamedCalendar]
) -> dt.datetime | None:
    """Return when to look at the task next: a clock trigger with its random delay, or its expiry."""
    plan = definition.plan(zone=home, calendars=calendars, effective=True)
    return _look_at(task, definition, plan, task.handled_until)


def expires_at(definition: TaskDefinition, plan: Plan) -> dt.datetime | None:
    """Return when the task is to be deleted (``DeleteExpiredTaskAfter``), if ever."""
    after = definition.settings.delete_expired_task_after
    return None if after is None or plan.ends is None else plan.ends + after.nominal


def watch_of(trigger: t.Trigger) -> Watch:
    """Return the kind of occasion that a trigger waits for; ``None`` for one that the clock fires."""
    if isinstance(trigger, t.CalendarTrigger):
        return Watch.NOTHING
    return _WATCHES.get(trigger.type, Watch.NOTHING)


def watches_of(definition: TaskDefinition) -> Watch:
    """Return the kinds of occasions, besides the clock, that a task waits for."""
    found = Watch.NOTHING
    for trigger in definition.triggers:
        if trigger.enabled:
            found |= watch_of(trigger)
    settings = definition.settings
    if settings.maintenance_settings is not None:
        found |= Watch.MAINTENANCE
    if settings.wake_to_run:
        found |= Watch.WAKE
    return found | Watch.VOLATILE if settings.volatile else found


def _look_at(
    task: Registered, definition: TaskDefinition, plan: Plan, after: dt.datetime
) -> dt.datetime | None:
    starts = (start.due for start in _first_starts(task, definition, plan, after))
    return min(starts, default=expires_at(definition, plan))


def claim(
    task: Registered,
    definition: TaskDefinition,
    now: dt.datetime,
    *,
    home: dt.tzinfo,
    calendars: Mapping[str, NamedCalendar],
) -> Claim:
    """Return the result of one look at a due task: the starts to make, to make up for, and the missed."""
    plan = definition.plan(zone=home, calendars=calendars, effective=True)
    starts = list(_starts(task, definition, plan, now))
    timely = [start for start in starts if now - start.due <= GRACE]
    missed = len(starts) - len(timely)
    runs = [_run(task, start, definition, plan) for start in timely]
    if missed and not timely and can_catch_up(definition, plan):
        runs = [_catch_up(task, next(start for start in reversed(starts)), now)]
        missed -= 1
    ahead = _look_at(task, definition, plan, now)
    return Claim(seen=task, handled_until=now, next_due=ahead, missed_runs=missed, runs=tuple(runs))


def registration_runs(task: Registered, definition: TaskDefinition, now: dt.datetime) -> tuple[Run, ...]:
    """Return the starts that the registration asks for, each after its delay (``IRegistrationTrigger``)."""
    found = []
    for number, trigger in enumerate(definition.triggers, 1):
        if isinstance(trigger, t.RegistrationTrigger) and trigger.enabled:
            delay = dt.timedelta(0) if trigger.delay is None else trigger.delay.nominal
            start = Start(trigger=number, occurrence=now, due=now + delay)
            found.append(dataclasses.replace(_run(task, start), state=RunState.QUEUED, reason="registered"))
    return tuple(found)


def registration_series(definition: TaskDefinition, now: dt.datetime) -> tuple[Series, ...]:
    """Return the repetitions that the registration begins."""
    return tuple(
        Series(
            trigger=number,
            since=now.replace(microsecond=0)
            + (dt.timedelta(0) if trigger.delay is None else trigger.delay.nominal),
        )
        for number, trigger in enumerate(definition.triggers, 1)
        if isinstance(trigger, t.RegistrationTrigger)
        and trigger.enabled
        and trigger.repetition.interval is not None
    )


def can_catch_up(definition: TaskDefinition, plan: Plan) -> bool:
    """Whether a missed start is made up for: only if the task ends some day or repeats for ever."""
    if not definition.settings.start_when_available:
        return False
    for number, recurrence in plan.recurrences.items():
        if recurrence.ends or recurrence.repeats:
            return True
        if not isinstance(definition.triggers[number], t.TimeTrigger):
            return True  # a calendar rule comes again for ever
    return False


def _starts(task: Registered, definition: TaskDefinition, plan: Plan, now: dt.datetime) -> Iterator[Start]:
    """The starts that came due since the task was last looked at.

    A random delay can carry a start over the last look: it came due after it though its moment lay before.
    """
    for number, recurrence in _recurrences(task, definition, plan):
        limit = _limit(definition.triggers[number])
        moment = task.handled_until - limit
        runs = _runs(recurrence.next_after, moment)
        for occurrence in itertools.islice(itertools.takewhile(lambda run: run <= now, runs), _MOST_COUNTED):
            start = _start(task, number, occurrence, limit)
            if task.handled_until < start.due <= now:
                yield start


def _first_starts(
    task: Registered, definition: TaskDefinition, plan: Plan, after: dt.datetime
) -> Iterator[Start]:
    """For each trigger, a start after a moment than which it has no earlier one."""
    for number, recurrence in _recurrences(task, definition, plan):
        limit = _limit(definition.triggers[number])
        first: Start | None = None
        runs = _runs(recurrence.next_after, after - limit)
        for occurrence in itertools.islice(runs, _MOST_COUNTED):
            if first is not None and occurrence >= first.due:
                break
            start = _start(task, number, occurrence, limit)
            if start.due > after and (first is None or start.due < first.due):
                first = start
            if not limit and first is not None:
                break
        if first is not None:
            yield first


def _recurrences(
    task: Registered, definition: TaskDefinition, plan: Plan
) -> Iterator[tuple[int, Recurrence]]:
    """Return the recurrences that the clock fires: clock triggers, and repetitions of others."""
    yield from plan.recurrences.items()
    for series in task.series:
        if series.trigger <= definition.triggers.count and definition.triggers[series.trigger].enabled:
            yield series.trigger, plan.repeated(definition.triggers[series.trigger], series.since)


def _runs(
    next_after: Callable[[dt.datetime], dt.datetime | None], moment: dt.datetime
) -> Iterator[dt.datetime]:
    found = next_after(moment)
    while found is not None:
        yield found
        found = next_after(found)


def _limit(trigger: t.Trigger) -> dt.timedelta:
    if isinstance(trigger, t.TimeTrigger | t.CalendarTrigger) and trigger.random_delay is not None:
        return trigger.random_delay.nominal
    return dt.timedelta(0)


def _start(task: Registered, trigger: int, occurrence: dt.datetime, limit: dt.timedelta) -> Start:
    delay = random_delay(task.seed, trigger, occurrence, limit) if limit else limit
    return Start(trigger=trigger, occurrence=occurrence, due=occurrence.astimezone(dt.UTC) + delay)


def _run(
    task: Registered, start: Start, definition: TaskDefinition | None = None, plan: Plan | None = None
) -> Run:
    return Run(
        ends_by=None if definition is None or plan is None else _pattern_end(task, start, definition, plan),
        id=new_run_id(),
        task_id=task.id,
        occurrence=occurrence_of(start),
        trigger=start.trigger,
        due=start.due,
        state=RunState.CLAIMED,
    )


def _pattern_end(
    task: Registered, start: Start, definition: TaskDefinition, plan: Plan
) -> dt.datetime | None:
    """When the pattern that the start belongs to is over, where its instances are stopped then."""
    repetition = definition.triggers[start.trigger].repetition
    if not repetition.stop_at_duration_end or repetition.duration is None:
        return None
    for number, recurrence in _recurrences(task, definition, plan):
        if number == start.trigger:
            instant = recurrence.pattern_end(int(start.occurrence.timestamp() // 1))
            return None if instant is None else dt.datetime.fromtimestamp(instant, dt.UTC)
    return None


def _catch_up(task: Registered, start: Start, now: dt.datetime) -> Run:
    run = _run(task, start)
    reason = f"missed at {start.due:%Y-%m-%d %H:%M:%S %Z}"
    return dataclasses.replace(run, state=RunState.QUEUED, due=now + CATCH_UP_DELAY, reason=reason)


def occurrence_of(start: Start) -> str:
    """Return the identity of a start within its task: trigger and moment."""
    return f"{start.trigger}@{start.occurrence.astimezone(dt.UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def new_run_id() -> str:
    """Return a new ``InstanceGuid``."""
    return f"{{{str(uuid.UUID(int=_NUMBERS.getrandbits(128), version=4)).upper()}}}"
