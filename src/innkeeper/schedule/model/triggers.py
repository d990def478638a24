"""Triggers of tasks."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from innkeeper.errors import ScheduleError
from innkeeper.schedule.boundary import Boundary
from innkeeper.schedule.duration import Duration
from innkeeper.schedule.events.query import Subscription
from innkeeper.schedule.events.xpath import XPath
from innkeeper.schedule.events.xpath_parser import XPathError
from innkeeper.schedule.model.enumerations import (
    DaysOfMonth,
    DaysOfWeek,
    Months,
    SessionStateChange,
    TriggerType,
    WeeksOfMonth,
)
from innkeeper.schedule.model.named_values import NamedValueCollection, ValueQueries
from innkeeper.schedule.xml import forms
from innkeeper.schedule.xml.deviation import Findings
from innkeeper.schedule.xml.element import Element, Nested, attribute, element
from innkeeper.schedule.xml.node import Node, local

_CHANGES = {
    "ConsoleConnect": SessionStateChange.CONSOLE_CONNECT,
    "ConsoleDisconnect": SessionStateChange.CONSOLE_DISCONNECT,
    "RemoteConnect": SessionStateChange.REMOTE_CONNECT,
    "RemoteDisconnect": SessionStateChange.REMOTE_DISCONNECT,
    "SessionLock": SessionStateChange.SESSION_LOCK,
    "SessionUnlock": SessionStateChange.SESSION_UNLOCK,
}
_EVERY_MONTH = Months(0xFFF)


@dataclasses.dataclass(kw_only=True, slots=True)
class RepetitionPattern(Element):
    """How often a trigger repeats once it has fired (``IRepetitionPattern``)."""

    #: From one start to the next, a minute to 31 days (``Interval``); ``None`` is no repetition.
    interval: Duration | None = element("Interval", forms.duration("PT1M", "P31D"), required=True)
    #: For how long, the end included (``Duration``); ``None`` is without end.
    duration: Duration | None = element("Duration", forms.duration("PT1M"))
    #: Stop at its end what the pattern has started (``StopAtDurationEnd``).
    stop_at_duration_end: bool = element("StopAtDurationEnd", forms.FLAG, default=False)

    def check(self, node: Node, findings: Findings) -> None:
        interval = local(node.children, "Interval")
        if interval is None or not self.interval or not self.duration:
            return
        if self.interval.nominal > self.duration.nominal:
            findings.invalid(interval, f"it is longer than the Duration, {self.duration}")


@dataclasses.dataclass(kw_only=True, slots=True)
class Trigger(Element):
    """What starts a task (``ITrigger``)."""

    ordered = True
    type: ClassVar[TriggerType]
    #: Whether it has no meaning without a start boundary.
    needs_start: ClassVar[bool] = False

    #: ``Id``; unique in the task.
    id: str | None = attribute("id", forms.text(shortest=1))
    #: ``Repetition``.
    repetition: RepetitionPattern = element(
        "Repetition", Nested(kind=RepetitionPattern), factory=RepetitionPattern
    )
    #: Inactive before it (``StartBoundary``); gives calendar triggers their time of day.
    start_boundary: Boundary | None = element("StartBoundary", forms.BOUNDARY)
    #: Never starts after it (``EndBoundary``).
    end_boundary: Boundary | None = element("EndBoundary", forms.BOUNDARY)
    #: A limit for what it starts (``ExecutionTimeLimit``); the task's limit where ``None``.
    execution_time_limit: Duration | None = element("ExecutionTimeLimit", forms.duration())
    #: ``Enabled``.
    enabled: bool = element("Enabled", forms.FLAG, default=True)

    def check(self, node: Node, findings: Findings) -> None:
        start = local(node.children, "StartBoundary")
        if self.needs_start and (start is None or not start.text.strip()):
            findings.missing(node, "StartBoundary", "it says when it starts and at what time of day")
        end = local(node.children, "EndBoundary")
        if end is None or not self.start_boundary or not self.end_boundary:
            return
        if _ends_before(self.start_boundary, self.end_boundary):
            findings.invalid(end, f"it is not after the StartBoundary, {self.start_boundary}")


def _ends_before(start: Boundary, end: Boundary) -> bool:
    # One local and one absolute can be compared only where the zone is known.
    if start.offset is None or end.offset is None:
        return start.is_local and end.is_local and end.wall <= start.wall
    return end.wall - end.offset <= start.wall - start.offset


@dataclasses.dataclass(kw_only=True, slots=True)
class EventTrigger(Trigger):
    """When an event is written that a query selects (``IEventTrigger``)."""

    tag = "EventTrigger"
    type = TriggerType.EVENT

    #: The query, a ``QueryList`` with XPath (``Subscription``).
    subscription: str | None = element("Subscription", forms.text(shortest=1), required=True)
    #: How long after the event (``Delay``).
    delay: Duration | None = element("Delay", forms.duration())
    #: Within how long ``number_of_occurrences`` events must come.
    period_of_occurrence: Duration | None = element("PeriodOfOccurrence", forms.duration())
    #: How many events it takes, 1 to 32.
    number_of_occurrences: int = element("NumberOfOccurrences", forms.integer(1, 32), default=1)
    #: Which part of the events must be the same.
    matching_element: str | None = element("MatchingElement", forms.text())
    #: Which parts of the event the actions may use, by name (``ValueQueries``).
    value_queries: NamedValueCollection = element(
        "ValueQueries", ValueQueries(), factory=NamedValueCollection
    )

    def check(self, node: Node, findings: Findings) -> None:
        Trigger.check(self, node, findings)
        subscription = local(node.children, "Subscription")
        if subscription is not None and self.subscription is not None:
            try:
                Subscription(self.subscription)
            except ScheduleError as problem:
                findings.invalid(subscription, problem.sentence.rstrip("."))
        queries = [("ValueQueries", pair.value) for pair in self.value_queries]
        for name, query in [*queries, ("MatchingElement", self.matching_element)]:
            place = local(node.children, name)
            if place is not None and query is not None:
                _check_xpath(query, place, findings)


def _check_xpath(query: str, node: Node, findings: Findings) -> None:
    try:
        XPath(query)
    except XPathError as problem:
        findings.invalid(node, f"it is not a path into an event: {problem}", value=query[:260])


@dataclasses.dataclass(kw_only=True, slots=True)
class TimeTrigger(Trigger):
    """Once, at its start boundary (``ITimeTrigger``)."""

    tag = "TimeTrigger"
    type = TriggerType.TIME
    needs_start = True

    #: Up to how much later, by chance (``RandomDelay``).
    random_delay: Duration | None = element("RandomDelay", forms.duration())


@dataclasses.dataclass(kw_only=True, slots=True)
class CalendarTrigger(Trigger):
    """On the days of a calendar rule, at the start boundary's time of day."""

    tag = "CalendarTrigger"
    needs_start = True
    #: The element that holds the rule.
    schedule: ClassVar[str]

    #: Up to how much later, by chance (``RandomDelay``).
    random_delay: Duration | None = element("RandomDelay", forms.duration())


@dataclasses.dataclass(kw_only=True, slots=True)
class DailyTrigger(CalendarTrigger):
    """Every day, or every n-th (``IDailyTrigger``)."""

    type = TriggerType.DAILY
    schedule = "ScheduleByDay"

    #: ``DaysInterval``, 1 to 365.
    days_interval: int = element(
        "DaysInterval", forms.integer(1, 365), default=1, inside="ScheduleByDay", always=True
    )


@dataclasses.dataclass(kw_only=True, slots=True)
class WeeklyTrigger(CalendarTrigger):
    """On days of the week, every week or every n-th (``IWeeklyTrigger``)."""

    type = TriggerType.WEEKLY
    schedule = "ScheduleByWeek"

    #: ``DaysOfWeek``.
    days_of_week: DaysOfWeek = element(
        "DaysOfWeek",
        forms.Flags(kind=DaysOfWeek),
        default=DaysOfWeek(0),
        inside="ScheduleByWeek",
        required=True,
    )
    #: ``WeeksInterval``, 1 to 52, counted from the week of the start boundary; weeks begin on Sunday.
    weeks_interval: int = element(
        "WeeksInterval", forms.integer(1, 52), default=1, inside="ScheduleByWeek", always=True
    )


@dataclasses.dataclass(kw_only=True, slots=True)
class MonthlyTrigger(CalendarTrigger):
    """On days of months (``IMonthlyTrigger``)."""

    type = TriggerType.MONTHLY
    schedule = "ScheduleByMonth"

    #: ``DaysOfMonth``; days that a month does not have are passed over.
    days_of_month: DaysOfMonth = element(
        "DaysOfMonth",
        forms.Numbers(kind=DaysOfMonth, item="Day", most=31),
        default=DaysOfMonth(0),
        inside="ScheduleByMonth",
        required=True,
    )
    #: ``MonthsOfYear``.
    months_of_year: Months = element(
        "Months", forms.Flags(kind=Months), default=_EVERY_MONTH, inside="ScheduleByMonth", always=True
    )

    @property
    def run_on_last_day_of_month(self) -> bool:
        """Whether the last day is one of its days (``RunOnLastDayOfMonth``)."""
        return DaysOfMonth.LAST in self.days_of_month

    @run_on_last_day_of_month.setter
    def run_on_last_day_of_month(self, on: bool) -> None:
        self.days_of_month = self.days_of_month & ~DaysOfMonth.LAST | (
            DaysOfMonth.LAST if on else DaysOfMonth(0)
        )


@dataclasses.dataclass(kw_only=True, slots=True)
class MonthlyDOWTrigger(CalendarTrigger):
    """On weekdays of months, such as the last Friday (``IMonthlyDOWTrigger``)."""

    type = TriggerType.MONTHLYDOW
    schedule = "ScheduleByMonthDayOfWeek"

    #: ``WeeksOfMonth``: the k-th of each chosen weekday in the month.
    weeks_of_month: WeeksOfMonth = element(
        "Weeks",
        forms.Numbers(kind=WeeksOfMonth, item="Week", most=4),
        default=WeeksOfMonth(0),
        inside="ScheduleByMonthDayOfWeek",
        required=True,
    )
    #: ``DaysOfWeek``.
    days_of_week: DaysOfWeek = element(
        "DaysOfWeek",
        forms.Flags(kind=DaysOfWeek),
        default=DaysOfWeek(0),
        inside="ScheduleByMonthDayOfWeek",
        required=True,
    )
    #: ``MonthsOfYear``.
    months_of_year: Months = element(
        "Months",
        forms.Flags(kind=Months),
        default=_EVERY_MONTH,
        inside="ScheduleByMonthDayOfWeek",
        always=True,
    )

    @property
    def run_on_last_week_of_month(self) -> bool:
        """Whether the last of each weekday is one of its days (``RunOnLastWeekOfMonth``)."""
        return WeeksOfMonth.LAST in self.weeks_of_month

    @run_on_last_week_of_month.setter
    def run_on_last_week_of_month(self, on: bool) -> None:
        self.weeks_of_month = self.weeks_of_month & ~WeeksOfMonth.LAST | (
            WeeksOfMonth.LAST if on else WeeksOfMonth(0)
        )


@dataclasses.dataclass(kw_only=True, slots=True)
class IdleTrigger(Trigger):
    """When the computer becomes idle (``IIdleTrigger``)."""

    tag = "IdleTrigger"
    type = TriggerType.IDLE


@dataclasses.dataclass(kw_only=True, slots=True)
class RegistrationTrigger(Trigger):
    """When the task is registered or changed (``IRegistrationTrigger``)."""

    tag = "RegistrationTrigger"
    type = TriggerType.REGISTRATION

    #: How long after it (``Delay``).
    delay: Duration | None = element("Delay", forms.duration())


@dataclasses.dataclass(kw_only=True, slots=True)
class BootTrigger(Trigger):
    """When the computer has started (``IBootTrigger``)."""

    tag = "BootTrigger"
    type = TriggerType.BOOT

    #: How long after it (``Delay``).
    delay: Duration | None = element("Delay", forms.duration())


@dataclasses.dataclass(kw_only=True, slots=True)
class LogonTrigger(Trigger):
    """When a user logs on (``ILogonTrigger``)."""

    tag = "LogonTrigger"
    type = TriggerType.LOGON

    #: Which user; any where ``None`` (``UserId``).
    user_id: str | None = element("UserId", forms.text(shortest=1))
    #: How long after it (``Delay``).
    delay: Duration | None = element("Delay", forms.duration())


@dataclasses.dataclass(kw_only=True, slots=True)
class SessionStateChangeTrigger(Trigger):
    """When a session is connected, disconnected, locked or unlocked (``ISessionStateChangeTrigger``)."""

    tag = "SessionStateChangeTrigger"
    type = TriggerType.SESSION_STATE_CHANGE

    #: What must happen (``StateChange``).
    state_change: SessionStateChange | None = element(
        "StateChange", forms.choice(_CHANGES, SessionStateChange), required=True
    )
    #: To whom; anyone where ``None`` (``UserId``).
    user_id: str | None = element("UserId", forms.text(shortest=1))
    #: How long after it (``Delay``).
    delay: Duration | None = element("Delay", forms.duration())


@dataclasses.dataclass(kw_only=True, slots=True)
class CustomTrigger(Trigger):
    """A change of a Windows notification (``WnfStateChangeTrigger``): kept as it is, and never fired."""

    tag = "WnfStateChangeTrigger"
    type = TriggerType.CUSTOM_TRIGGER_01

    #: How long after it.
    delay: Duration | None = element("Delay", forms.duration())
    #: Which notification.
    state_name: str | None = element("StateName", forms.text(), required=True)
    #: What it must carry.
    data: str | None = element("Data", forms.text())
    #: From which byte on.
    data_offset: str | None = element("DataOffset", forms.text())
