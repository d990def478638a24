"""Draw definitions of every shape that the schema allows."""

from __future__ import annotations

import datetime as dt
from enum import IntFlag

from hypothesis import strategies as st

from innkeeper.schedule.boundary import Boundary
from innkeeper.schedule.duration import Duration
from innkeeper.schedule.model import actions as a
from innkeeper.schedule.model import triggers as t
from innkeeper.schedule.model.actions import ActionCollection
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.model.enumerations import (
    DaysOfMonth,
    DaysOfWeek,
    InstancesPolicy,
    LogonType,
    Months,
    RunLevel,
    SessionStateChange,
    WeeksOfMonth,
)
from innkeeper.schedule.model.principal import Principal
from innkeeper.schedule.model.registration_info import RegistrationInfo
from innkeeper.schedule.model.settings import TaskSettings
from innkeeper.schedule.model.trigger_collection import TriggerCollection

_LETTERS = st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
texts = st.text(st.one_of(_LETTERS, st.sampled_from("<>&\"'\n\t\r ]")), max_size=30)
names = st.text(st.sampled_from("abcXYZ0189-é"), min_size=1, max_size=12)
subscriptions = st.builds(
    '<QueryList>{2}<Query><Select Path="{0}">*[System[EventID={1}]]</Select></Query></QueryList>'.format,
    names,
    st.integers(0, 65535),
    st.sampled_from(["", " ", "\n\t"]),
)
lengths = st.builds(
    Duration.of, st.timedeltas(min_value=dt.timedelta(minutes=1), max_value=dt.timedelta(days=31))
) | st.sampled_from([Duration("P3D"), Duration("PT72H"), Duration("P1DT1.5S")])
starts = st.builds(
    lambda moment, fraction, suffix: Boundary(moment.replace(microsecond=0).isoformat() + fraction + suffix),
    st.datetimes(min_value=dt.datetime(2000, 1, 1), max_value=dt.datetime(2090, 1, 1)),
    st.sampled_from(["", ".1234567", ".5"]),
    st.sampled_from(["", "", "Z", "+01:00", "-09:30"]),
)


def masks(kind: type[IntFlag], bits: int) -> st.SearchStrategy[IntFlag]:
    return st.builds(kind, st.integers(1, (1 << bits) - 1))


def repetitions() -> st.SearchStrategy[t.RepetitionPattern]:
    lasting = st.sampled_from([Duration("P31D"), Duration("P60D"), None])
    repeated = st.builds(
        t.RepetitionPattern, interval=lengths, duration=lasting, stop_at_duration_end=st.booleans()
    )
    return st.one_of(st.builds(t.RepetitionPattern), repeated)


def trigger(
    kind: type[t.Trigger],
    *,
    start: st.SearchStrategy[Boundary | None] = starts,
    **fields: st.SearchStrategy[object],
) -> st.SearchStrategy[t.Trigger]:
    return st.builds(
        kind,
        repetition=repetitions(),
        start_boundary=start,
        enabled=st.booleans(),
        execution_time_limit=st.none() | lengths,
        **fields,
    )


triggers = st.one_of(
    trigger(t.TimeTrigger, random_delay=st.none() | lengths),
    trigger(t.DailyTrigger, days_interval=st.integers(1, 365)),
    trigger(t.WeeklyTrigger, days_of_week=masks(DaysOfWeek, 7), weeks_interval=st.integers(1, 52)),
    trigger(t.MonthlyTrigger, days_of_month=masks(DaysOfMonth, 32), months_of_year=masks(Months, 12)),
    trigger(
        t.MonthlyDOWTrigger,
        days_of_week=masks(DaysOfWeek, 7),
        weeks_of_month=masks(WeeksOfMonth, 5),
        months_of_year=masks(Months, 12),
    ),
    trigger(t.BootTrigger, start=st.none(), delay=st.none() | lengths),
    trigger(t.RegistrationTrigger, start=st.none(), delay=st.none() | lengths),
    trigger(t.IdleTrigger, start=st.none()),
    trigger(t.LogonTrigger, start=st.none(), user_id=st.none() | names, delay=st.none() | lengths),
    trigger(
        t.SessionStateChangeTrigger,
        start=st.none(),
        state_change=st.sampled_from(list(SessionStateChange)),
        user_id=st.none() | names,
    ),
    trigger(
        t.EventTrigger, start=st.none(), subscription=subscriptions, number_of_occurrences=st.integers(1, 32)
    ),
)

actions = st.one_of(
    st.builds(a.ExecAction, path=names, arguments=st.none() | texts, working_directory=st.none() | names),
    st.builds(a.ComHandlerAction, class_id=st.uuids().map(str), data=st.none() | texts),
    st.builds(
        a.EmailAction,
        server=names,
        to=st.none() | names,
        from_=st.none() | names,
        subject=st.none() | texts,
        body=st.none() | texts,
        attachments=st.lists(names, max_size=8).map(tuple),
    ),
    st.builds(a.ShowMessageAction, title=st.none() | names, message_body=names),
)

settings = st.builds(
    TaskSettings,
    multiple_instances=st.sampled_from(list(InstancesPolicy)),
    disallow_start_if_on_batteries=st.booleans(),
    enabled=st.booleans(),
    hidden=st.booleans(),
    start_when_available=st.booleans(),
    volatile=st.booleans(),
    use_unified_scheduling_engine=st.booleans(),
    priority=st.integers(0, 10),
    execution_time_limit=st.none() | lengths,
)

principals = st.builds(
    Principal,
    id=names,
    user_id=st.none() | names,
    logon_type=st.sampled_from([LogonType.S4U, LogonType.PASSWORD, LogonType.INTERACTIVE_TOKEN]),
    run_level=st.sampled_from(list(RunLevel)),
    required_privileges=st.sampled_from([(), ("SeBackupPrivilege", "SeRestorePrivilege")]),
)


@st.composite
def definitions(draw: st.DrawFn) -> TaskDefinition:
    made = TaskDefinition(
        registration_info=draw(
            st.builds(RegistrationInfo, author=st.none() | texts, description=st.none() | texts)
        ),
        triggers=TriggerCollection(tuple(draw(st.lists(triggers, max_size=4)))),
        principal=draw(principals),
        settings=draw(settings),
        actions=ActionCollection(tuple(draw(st.lists(actions, min_size=1, max_size=3)))),
    )
    made.actions.context = draw(st.sampled_from([None, made.principal.id]))
    made.extension.zone = draw(st.sampled_from([None, "Europe/Paris"]))
    made.data = draw(st.sampled_from(["", "plain", '<a xmlns="urn:a">\n <b/></a>']))
    return made
