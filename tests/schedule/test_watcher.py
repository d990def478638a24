"""What happens starts the tasks whose triggers wait for it, once, and nothing else."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt

import pytest

from innkeeper.errors import ErrorCode, ScheduleError
from innkeeper.schedule import registry as registries
from innkeeper.schedule.boundary import Boundary
from innkeeper.schedule.duration import Duration
from innkeeper.schedule.events import inn
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.model.enumerations import SessionStateChange, TriggerType
from innkeeper.schedule.registered import RunState, Watch
from innkeeper.schedule.running.inn_events import InnEvents
from innkeeper.schedule.running.notices import Notices
from innkeeper.schedule.running.occasions import BecameIdle, Booted, EventWritten, LoggedOn, SessionChanged
from innkeeper.schedule.running.sources import Sources
from innkeeper.wire.events import Event, EventKind
from tests.schedule.house import NIGHT, House, running

MINUTE = dt.timedelta(minutes=1)


@pytest.fixture
async def house():
    house = House()
    await house.tasks.launch()
    yield house
    await house.tasks.close()


def on(kind: TriggerType, **fields) -> TaskDefinition:
    """A definition with one trigger of a kind."""
    made = running("echo", "$(who) $(what)")
    trigger = made.triggers.create(kind)
    for name, value in fields.items():
        setattr(trigger, name, value)
    return made


def query(select: str, channel: str = "Innkeeper") -> str:
    select = select.replace("<", "&lt;")
    return f'<QueryList><Query Id="0"><Select Path="{channel}">{select}</Select></Query></QueryList>'


def on_event(select: str, **fields) -> TaskDefinition:
    return on(TriggerType.EVENT, subscription=query(select), **fields)


def happened(
    house: House,
    subject: str = "web-1",
    kind: EventKind = EventKind.MACHINE_STOPPED,
    number: int = 1,
    data=(),
):
    event = Event(kind=kind, subject=subject, at=house.clock.now(), data=dict(data))
    record = inn.of_event(event, identifier=f"a-{number}", computer="host-1")
    return EventWritten(key=f"event:{record.id}", at=event.at, words=kind, record=record)


def booted(house: House, boot: str = "b1") -> Booted:
    return Booted(key=f"boot:{boot}", at=house.clock.now(), words="the computer has started")


async def runs(house: House):
    return list(reversed(await house.store.runs()))


# Events


async def test_an_event_starts_the_task_and_gives_it_values(house: House) -> None:
    """Each value query is one name in the action's words; what it does not find stays as it is."""
    definition = on_event("*[System[EventID=103]]")
    trigger = definition.triggers[1]
    trigger.value_queries.create("who", "Event/EventData/Data[@Name='Subject']")
    trigger.value_queries.create("what", "Event/System/Provider/@Name")
    await house.register(definition)
    await house.watcher.on_occasion(happened(house, kind=EventKind.MACHINE_STARTED))
    assert await runs(house) == []
    await house.watcher.on_occasion(happened(house))
    await house.scheduler.look()
    (run,) = await runs(house)
    ended = await house.ended(run)
    log = [line.text for line in await house.tasks.log(ended.operation)]
    assert log == ["Started: machine.stopped.", "web-1 Innkeeper"]
    assert (ended.trigger, ended.result) == (1, 0)


async def test_an_event_is_heard_once(house: House) -> None:
    """Told twice, or by two servers: one start."""
    await house.register(on_event("*"))
    await house.watcher.on_occasion(happened(house))
    await house.watcher.on_occasion(happened(house))
    assert len(await runs(house)) == 1


async def test_a_delay_waits_as_a_queued_instance(house: House) -> None:
    """It is to be seen as queued, and starts when the delay is over."""
    await house.register(on_event("*", delay="PT5M"))
    await house.watcher.on_occasion(happened(house))
    (run,) = await runs(house)
    assert (run.state, run.due) == (RunState.QUEUED, NIGHT + 5 * MINUTE)
    await house.at(NIGHT + 4 * MINUTE)
    assert (await runs(house))[0].state is RunState.QUEUED
    await house.at(NIGHT + 5 * MINUTE)
    assert (await house.ended(run)).state is RunState.FINISHED


async def test_boundaries_gate_and_a_disabled_trigger_or_task_hears_nothing(house: House) -> None:
    """Not before its start, not after its end, not while disabled."""
    start, end = "2026-01-10T20:10:00", "2026-01-10T20:20:00"
    task = await house.register(on_event("*", start_boundary=start, end_boundary=end))
    for number, minutes in enumerate((5, 15, 25)):
        await house.clock.advance((NIGHT + minutes * MINUTE - house.clock.now()).total_seconds())
        await house.watcher.on_occasion(happened(house, number=number))
    assert [run.due for run in await runs(house)] == [NIGHT + 15 * MINUTE]
    await house.registry.register("\\off", on_event("*", enabled=False), owner="ana")
    await house.registry.set_enabled(task, False)
    await house.watcher.on_occasion(happened(house, number=9))
    assert len(await runs(house)) == 1


async def test_so_many_events_within_a_period_of_the_same_element_count_as_one(house: House) -> None:
    """Three crashes of one machine within an hour; those of another do not count."""
    await house.register(
        on_event(
            "*[System[EventID=109]]",
            number_of_occurrences=3,
            period_of_occurrence="PT1H",
            matching_element="Event/EventData/Data[@Name='Subject']",
        )
    )
    told = [("a", 0), ("b", 1), ("a", 10), ("b", 20), ("a", 70), ("a", 75), ("a", 76)]
    for number, (machine, minutes) in enumerate(told):
        await house.clock.advance((NIGHT + minutes * MINUTE - house.clock.now()).total_seconds())
        await house.watcher.on_occasion(happened(house, machine, EventKind.MACHINE_CRASHED, number))
    # From 10 to 75 is more than an hour; 70 to 76 with the one between is three.
    assert [run.due - NIGHT for run in await runs(house)] == [76 * MINUTE]


async def test_a_task_is_not_started_by_its_own_instance(house: House) -> None:
    """Else one that hears of ended operations would run for ever."""
    await house.register(on_event("*"))
    own = {"kind": "scheduled_task", "description": "Run \\t"}
    await house.watcher.on_occasion(happened(house, "1", EventKind.TASK_ENDED, 1, own))
    assert await runs(house) == []
    other = own | {"description": "Run \\u"}
    await house.watcher.on_occasion(happened(house, "1", EventKind.TASK_ENDED, 2, other))
    assert len(await runs(house)) == 1


async def test_a_flood_of_events_starts_thirty_a_minute(house: House) -> None:
    """A guest gone wild fills no history."""
    await house.register(on_event("*"))
    for number in range(100):
        await house.watcher.on_occasion(happened(house, number=number))
    assert len(await runs(house)) == 30
    await house.clock.advance(61)
    await house.watcher.on_occasion(happened(house, number=101))
    assert len(await runs(house)) == 31


async def test_a_malformed_query_is_refused_at_registration(house: House) -> None:
    """With the documented code, and nothing is stored."""
    for fields in (
        {"subscription": query("System")},
        {"subscription": "no query"},
        {"subscription": query("*"), "matching_element": "//x"},
    ):
        with pytest.raises(ScheduleError) as refused:
            await house.register(on(TriggerType.EVENT, **fields))
        assert refused.value.code is ErrorCode.SCHED_E_INVALIDVALUE
        assert refused.value.node in ("Subscription", "MatchingElement")
    assert await house.store.tasks() == []


async def test_only_so_many_tasks_may_wait_for_events(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """One above the documented number is refused; a changed one is none more."""
    monkeypatch.setattr(registries, "MOST_LISTENERS", 2)
    for name in ("\\a", "\\b", "\\b"):
        await house.registry.register(name, on_event("*"), owner="ana")
    with pytest.raises(ScheduleError) as refused:
        await house.register(on_event("*"))
    assert refused.value.code is ErrorCode.SCHED_E_SERVICE_TOO_BUSY


async def test_the_inns_own_events_are_heard_from_its_stream(house: House) -> None:
    """Those of a channel that nobody listens to are not even shown."""
    source = InnEvents(lambda: house.watcher.channels(), life="x", computer="host-1")
    await house.registry.register(
        "\\t", on(TriggerType.EVENT, subscription=query("*", "Innkeeper/Machines")), owner="ana"
    )
    hearing = asyncio.create_task(source.run(house.watcher.on_occasion))
    for kind in (EventKind.TASK_ENDED, EventKind.MACHINE_STOPPED):
        source.on_event(Event(kind=kind, subject="web-1", at=NIGHT))
    while not (found := await runs(house)):
        await asyncio.sleep(0)
    hearing.cancel()
    assert [run.occurrence for run in found] == ["1@event:x-2"]


# Starts, people, idleness


async def test_a_boot_starts_boot_triggers_once_and_disables_volatile_tasks(house: House) -> None:
    """A second start of the service in the same boot starts nothing."""
    volatile = on(TriggerType.BOOT)
    volatile.settings.volatile = True
    await house.registry.register("\\volatile", volatile, owner="ana")
    task = await house.register(on(TriggerType.BOOT, delay="PT1M"))
    await house.watcher.on_occasion(booted(house))
    await house.watcher.on_occasion(booted(house))
    assert [(run.task_id, run.due) for run in await runs(house)] == [(task.id, NIGHT + MINUTE)]
    assert not (await house.registry.task("\\volatile")).enabled
    await house.watcher.on_occasion(booted(house, "b2"))
    assert len(await runs(house)) == 2


async def test_a_logon_starts_the_triggers_of_that_user_and_of_anyone(house: House) -> None:
    """And not those of another."""
    house.computer.accounts["bob"] = "bob"
    for name, user in (("\\any", None), ("\\ana", "LAB\\ana"), ("\\bob", "bob")):
        await house.registry.register(name, on(TriggerType.LOGON, user_id=user), owner="ana")
    house.computer.accounts["LAB\\ana"] = "ana"
    await house.watcher.on_occasion(LoggedOn(key="logon:b1:7", at=NIGHT, words="", user="ana"))
    started = {(await house.store.get(run.task_id)).path.name for run in await runs(house)}
    assert started == {"any", "ana"}


async def test_a_session_starts_the_triggers_of_its_change(house: House) -> None:
    """Locked is not unlocked."""
    for change in (SessionStateChange.SESSION_LOCK, SessionStateChange.SESSION_UNLOCK):
        await house.registry.register(
            f"\\{change.name}", on(TriggerType.SESSION_STATE_CHANGE, state_change=change), owner="ana"
        )
    change = SessionStateChange.SESSION_LOCK
    await house.watcher.on_occasion(SessionChanged(key="s:1", at=NIGHT, words="", user="ana", change=change))
    (run,) = await runs(house)
    assert (await house.store.get(run.task_id)).path.name == "SESSION_LOCK"


async def test_a_trigger_that_fired_repeats_by_the_clock(house: House) -> None:
    """Idle with PT10M for PT30M: at 0, 10, 20 and 30 minutes, over a restart of the service, and no more."""
    definition = on(TriggerType.IDLE)
    definition.triggers[1].repetition.interval = Duration("PT10M")
    definition.triggers[1].repetition.duration = Duration("PT30M")
    task = await house.register(definition)
    assert task.next_due is None
    await house.watcher.on_occasion(BecameIdle(key="idle:1", at=NIGHT, words=""))
    assert (await house.store.get(task.id)).next_due == NIGHT + 10 * MINUTE
    for minutes in (0, 10, 20, 30, 40, 50):
        await house.at(NIGHT + minutes * MINUTE)
        if minutes == 10:
            house.restart()
            await house.tasks.launch()
        for run in await house.store.runs(live=True):
            await house.ended(run)
    assert [run.due - NIGHT for run in await runs(house)] == [number * 10 * MINUTE for number in range(4)]
    assert (await house.store.get(task.id)).next_due is None


async def test_a_registration_trigger_repeats_after_its_delay(house: House) -> None:
    """The first start is the registration's, the next ones the clock's, each once."""
    definition = on(TriggerType.REGISTRATION, delay="PT5M")
    definition.triggers[1].repetition.interval = Duration("PT10M")
    await house.register(definition)
    for minutes in (5, 15, 25):
        await house.at(NIGHT + minutes * MINUTE)
        for run in await house.store.runs(live=True):
            await house.ended(run)
    assert [run.due - NIGHT for run in await runs(house)] == [5 * MINUTE, 15 * MINUTE, 25 * MINUTE]


async def test_one_source_that_breaks_leaves_the_others(house: House) -> None:
    """It is asked again after a while."""
    asked = []

    class Broken:
        watches, missing = Watch.NOTHING, ""

        async def run(self, tell) -> None:
            asked.append(house.clock.now())
            raise OSError("broken")

    house.watcher._sources = Sources([Broken()])
    watching = asyncio.create_task(house.watcher.run())
    await house.clock.advance(65)
    watching.cancel()
    assert len(asked) == 3


async def test_what_is_not_available_here_is_said(house: House) -> None:
    """A sentence for each trigger and setting without effect, and none for those that work."""
    definition = on(TriggerType.LOGON)
    definition.triggers.create(TriggerType.EVENT).subscription = query("*", "Microsoft-X/Y")
    definition.triggers.create(TriggerType.EVENT).subscription = query("*", "Security")
    definition.triggers.create(TriggerType.EVENT).subscription = query("*")
    definition.triggers.create(TriggerType.DAILY).start_boundary = Boundary("2026-01-10T22:00:00")
    definition.settings.wake_to_run = True
    notices = Notices(sources=Sources(), journal=lambda: "no journal", wake=lambda: "no clock")
    assert notices.of(definition) == (
        "Trigger 1 (LogonTrigger) is not available here: this service does not watch for it.",
        "Trigger 2 (EventTrigger) is not available here: channel Microsoft-X/Y: nothing writes there.",
        "Trigger 3 (EventTrigger) is not available here: channel Security: no journal.",
        "WakeToRun has no effect here: no clock.",
    )


async def test_a_task_that_fails_leaves_the_starts_of_the_others(house):
    """A definition that cannot be read is passed over, whatever happens."""
    for name in ("\\a", "\\b"):
        await house.register(on_event("*"), name=name)
        await house.register(on(TriggerType.BOOT), name=f"{name}-boot")
    broken = [each for each in house.store._tasks.values() if str(each.path).startswith("\\a")]
    for each in broken:
        house.store._tasks[each.id] = dataclasses.replace(each, xml="<broken")
    await house.watcher.on_occasion(happened(house))
    await house.watcher.on_occasion(booted(house))
    sound = {each.id for each in house.store._tasks.values() if str(each.path).startswith("\\b")}
    assert {run.task_id for run in await runs(house)} == sound
