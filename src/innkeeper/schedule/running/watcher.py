"""Starts of tasks by occasions: events, boots, log-ons, sessions, idleness."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import datetime as dt
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Final

import structlog

from innkeeper.schedule.calendar.named import NamedCalendar
from innkeeper.schedule.events.query import Subscription
from innkeeper.schedule.events.record import Record
from innkeeper.schedule.events.xpath import XPath
from innkeeper.schedule.model import triggers as t
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.model.plan import Plan
from innkeeper.schedule.ports import Accounts, Calendars, ScheduleStore
from innkeeper.schedule.registered import Registered, Run, RunState, Series, Watch
from innkeeper.schedule.running import due
from innkeeper.schedule.running.instance import definition_of
from innkeeper.schedule.running.occasions import Booted, EventWritten, LoggedOn, Occasion, SessionChanged
from innkeeper.schedule.running.sources import Source, Sources
from innkeeper.tasks.outcome import traceback_of
from innkeeper.tasks.ports import Clock

#: So many sets of events are counted for one trigger.
_MOST_SETS: Final = 1000
#: A trigger that fires more often than this in a minute feeds on itself, or on a guest gone wild.
_MOST_A_MINUTE: Final = 30
_MINUTE: Final = dt.timedelta(minutes=1)
#: After so many seconds, what another server has registered is heard of.
_REMEMBER_SECONDS: Final = 30.0
#: A source that has failed is asked again after so many seconds.
_RETRY_SECONDS: Final = 30.0
#: The longest value that an event gives to an action.
_LONGEST_VALUE: Final = 8192

_log = structlog.get_logger(__name__)


class Watcher:
    """Turns occasions into starts that triggers ask for; the scheduler makes them."""

    def __init__(
        self,
        *,
        store: ScheduleStore,
        accounts: Accounts,
        calendars: Calendars,
        clock: Clock,
        home: dt.tzinfo,
        sources: Sources,
        disable: Callable[[Registered], Awaitable[object]],
        wake: Callable[[], None],
    ) -> None:
        """``disable`` disables a task that is to be disabled whenever the computer starts."""
        self._store = store
        self._accounts = accounts
        self._calendars = calendars
        self._clock = clock
        self._home = home
        self._sources = sources
        self._disable = disable
        self._wake = wake
        self._listeners: list[_Listener] | None = None
        self._listeners_until = 0.0
        self._fired: dict[tuple[int, int], collections.deque[dt.datetime]] = {}

    # Life

    async def run(self) -> None:
        """Follow all sources while the service runs."""
        async with asyncio.TaskGroup() as group:
            for source in self._sources:
                group.create_task(self._hear(source), name=f"occasions: {type(source).__name__}")

    def forget(self) -> None:
        """Read the listeners anew, after a registration, a change or a deletion."""
        self._listeners = None

    # Questions

    async def channels(self) -> frozenset[str]:
        """The channels that any task listens to, case-folded."""
        listeners = await self._listening()
        return frozenset(name.casefold() for each in listeners for name in each.subscription.channels)

    # Commands

    async def on_occasion(self, occasion: Occasion) -> None:
        """Start the tasks that wait for an occasion. A repeated occasion starts nothing twice."""
        if isinstance(occasion, Booted):
            for volatile in await self._store.watching(Watch.VOLATILE):
                await self._disable(volatile)
        fired = 0
        for task, number, given in await self._waiting(occasion):
            fired += await self._fire_safely(task, number, occasion, given)
        if fired:
            self._wake()

    # Machinery

    async def _hear(self, source: Source) -> None:
        while True:
            try:
                await source.run(self.on_occasion)
            except Exception as problem:  # one that breaks leaves the others, and is asked again later
                _log.warning("schedule.source_failed", source=type(source).__name__, error=repr(problem))
            await self._clock.sleep(_RETRY_SECONDS)

    async def _waiting(self, occasion: Occasion) -> Sequence[tuple[Registered, int, Mapping[str, str]]]:
        if isinstance(occasion, EventWritten):
            now = self._clock.now()
            listeners = await self._listening()
            heard = [(each, _heard(each, occasion.record, now)) for each in listeners]
            return [(each.task, each.number, given) for each, given in heard if given is not None]
        found: list[tuple[Registered, int, Mapping[str, str]]] = []
        for task in await self._store.watching(occasion.watch):
            try:
                found += [(task, number, {}) for number in await self._numbers(task, occasion)]
            except Exception as exc:  # one task that fails leaves the others
                _log.error("schedule.trigger_failed", path=str(task.path), traceback=traceback_of(exc))
        return found

    async def _numbers(self, task: Registered, occasion: Occasion) -> Sequence[int]:
        """The numbers of a task's triggers that wait for an occasion."""
        return [
            number
            for number, trigger in enumerate(definition_of(task).triggers, 1)
            if trigger.enabled and await asyncio.to_thread(self._waits, trigger, occasion)
        ]

    def _waits(self, trigger: t.Trigger, occasion: Occasion) -> bool:
        """Whether a trigger waits for an occasion. Blocks: accounts are looked up."""
        if due.watch_of(trigger) is not occasion.watch:
            return False
        if isinstance(trigger, t.LogonTrigger) and isinstance(occasion, LoggedOn):
            return self._is_user(trigger.user_id, occasion.user)
        if isinstance(trigger, t.SessionStateChangeTrigger) and isinstance(occasion, SessionChanged):
            return trigger.state_change is occasion.change and self._is_user(trigger.user_id, occasion.user)
        return True

    def _is_user(self, wanted: str | None, user: str) -> bool:
        return wanted is None or self._accounts.find(wanted) == user

    async def _fire_safely(
        self, task: Registered, number: int, occasion: Occasion, given: Mapping[str, str]
    ) -> bool:
        """Start one task; what fails with it leaves the other tasks' starts alone."""
        try:
            return await self._fire(task, number, occasion, given)
        except Exception as exc:
            _log.error("schedule.start_failed", path=str(task.path), traceback=traceback_of(exc))
            return False

    async def _fire(
        self, task: Registered, number: int, occasion: Occasion, given: Mapping[str, str]
    ) -> bool:
        definition = definition_of(task)
        trigger = definition.triggers[number]
        calendars = await self._calendars.named()
        plan = definition.plan(zone=self._home, calendars=calendars, effective=True)
        if not plan.is_open(trigger, occasion.at) or self._floods(task, number, occasion.at):
            return False
        moment = occasion.at + _delay(trigger)
        run = Run(
            id=due.new_run_id(),
            task_id=task.id,
            occurrence=f"{number}@{occasion.key}",
            trigger=number,
            due=moment,
            state=RunState.QUEUED,
            reason=occasion.words,
            given=given,
            ends_by=_pattern_end(trigger, moment),
        )
        if not await self._store.put_run(run):
            return False
        await self._repeat(task, definition, plan, number, moment, calendars)
        return True

    async def _repeat(
        self,
        task: Registered,
        definition: TaskDefinition,
        plan: Plan,
        number: int,
        moment: dt.datetime,
        calendars: Mapping[str, NamedCalendar],
    ) -> None:
        """Give the repetitions of a fired trigger over to the clock, if it has any."""
        known = await self._store.get(task.id)
        if known is None or definition.triggers[number].repetition.interval is None:
            return
        others = tuple(each for each in known.series if each.trigger != number)
        series = (*others, Series(trigger=number, since=moment.replace(microsecond=0)))
        changed = dataclasses.replace(known, series=series)
        ahead = due.next_due(changed, definition, home=self._home, calendars=calendars)
        await self._store.set_series(dataclasses.replace(changed, next_due=ahead))

    def _floods(self, task: Registered, number: int, at: dt.datetime) -> bool:
        fired = self._fired.setdefault((task.id, number), collections.deque(maxlen=_MOST_A_MINUTE))
        if len(fired) == _MOST_A_MINUTE and at - fired[0] < _MINUTE:
            _log.warning("schedule.trigger_floods", path=str(task.path), trigger=number)
            return True
        fired.append(at)
        return False

    async def _listening(self) -> list[_Listener]:
        now = self._clock.monotonic()
        if self._listeners is None or now >= self._listeners_until:
            tasks = await self._store.watching(Watch.EVENT)
            known = {(each.task.id, each.number): each for each in self._listeners or ()}
            self._listeners = [
                _kept(known.get((made.task.id, made.number)), made)
                for task in tasks
                for made in _listeners_if_sound(task)
            ]
            self._listeners_until = now + _REMEMBER_SECONDS
        return self._listeners


class _Listener:
    """One event trigger of one task."""

    def __init__(self, task: Registered, number: int, trigger: t.EventTrigger) -> None:
        self.task = task
        self.number = number
        self.subscription = Subscription(trigger.subscription or "")
        self._trigger = trigger
        self._queries = [(pair.name, XPath(pair.value)) for pair in trigger.value_queries]
        self._matching = None if trigger.matching_element is None else XPath(trigger.matching_element)
        #: When it heard events that count for one start together, by what they have in common.
        self._heard: dict[str, collections.deque[dt.datetime]] = {}

    def hears(self, record: Record, now: dt.datetime) -> bool:
        """Whether the event fires the trigger, alone or as the last of a set."""
        if record.caused_by == str(self.task.path) or not self.subscription.matches(record, now):
            return False
        needed, period = self._trigger.number_of_occurrences, self._trigger.period_of_occurrence
        if needed <= 1:
            return True
        common = self._common(record, now)
        heard = self._heard.setdefault(common, collections.deque(maxlen=needed))
        heard.append(record.at)
        if len(heard) < needed or (period is not None and heard[-1] - heard[0] > period.nominal):
            return False
        del self._heard[common]
        return True

    def given(self, record: Record, now: dt.datetime) -> dict[str, str]:
        """Return the event's values for the actions, by name (``ValueQueries``)."""
        found = {name: query.values(record.tree, now) for name, query in self._queries}
        return {name: values[0][:_LONGEST_VALUE] for name, values in found.items() if values}

    def _common(self, record: Record, now: dt.datetime) -> str:
        if len(self._heard) > _MOST_SETS:  # what a guest makes up must not fill the memory
            self._heard.clear()
        return "" if self._matching is None else "\n".join(self._matching.values(record.tree, now))


def _heard(listener: _Listener, record: Record, now: dt.datetime) -> Mapping[str, str] | None:
    """Return an event's values for a trigger's task; ``None`` where it does not fire, or fails."""
    try:
        return listener.given(record, now) if listener.hears(record, now) else None
    except Exception as exc:  # one trigger that fails leaves the others
        _log.error("schedule.trigger_failed", path=str(listener.task.path), traceback=traceback_of(exc))
        return None


def _listeners_if_sound(task: Registered) -> Sequence[_Listener]:
    """A task's event triggers; none of one whose definition fails."""
    try:
        return list(_listeners_of(task))
    except Exception as exc:  # the other tasks' triggers listen all the same
        _log.error("schedule.trigger_failed", path=str(task.path), traceback=traceback_of(exc))
        return ()


def _listeners_of(task: Registered) -> Iterator[_Listener]:
    for number, trigger in enumerate(definition_of(task).triggers, 1):
        if isinstance(trigger, t.EventTrigger) and trigger.enabled:
            yield _Listener(task, number, trigger)


def _kept(known: _Listener | None, made: _Listener) -> _Listener:
    """The listener that has counted events already, where nothing of its task has changed."""
    return known if known is not None and known.task.xml == made.task.xml else made


def _pattern_end(trigger: t.Trigger, moment: dt.datetime) -> dt.datetime | None:
    """Return when what the trigger starts is stopped (``StopAtDurationEnd``)."""
    repetition = trigger.repetition
    if not repetition.stop_at_duration_end or repetition.duration is None:
        return None
    return moment + repetition.duration.nominal


def _delay(trigger: t.Trigger) -> dt.timedelta:
    delay = getattr(trigger, "delay", None)
    return dt.timedelta(0) if delay is None else delay.nominal
