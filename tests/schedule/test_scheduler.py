"""What is due starts once, under its policy and conditions, and its history tells how it came out."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from pathlib import Path

import pytest

from innkeeper.errors import ErrorCode, InnkeeperError, ScheduleError
from innkeeper.schedule.boundary import Boundary
from innkeeper.schedule.duration import Duration
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.model.enumerations import (
    ActionType,
    InstancesPolicy,
    TaskCreation,
    TaskRunFlags,
    TaskState,
    TriggerType,
)
from innkeeper.schedule.registered import RunState
from innkeeper.tasks.task import LogLevel, TaskResult
from tests.schedule.house import NIGHT, House, daily, running, until

TWO_HOURS = dt.timedelta(hours=2)
DAY = dt.timedelta(days=1)
HANDLER = "{3F2504E0-4F89-11D3-9A0C-0305E82C3301}"


@pytest.fixture
async def house():
    house = House()
    await house.tasks.launch()
    yield house
    await house.tasks.close()


def handling(policy: InstancesPolicy = InstancesPolicy.IGNORE_NEW) -> TaskDefinition:
    """A definition that calls the test's own handler."""
    made = TaskDefinition.new()
    made.actions.create(ActionType.COM_HANDLER).class_id = HANDLER
    made.settings.multiple_instances = policy
    return made


async def lasting(house: House) -> asyncio.Event:
    """A handler that works until it is let go."""
    let_go = asyncio.Event()

    async def handler(status, data) -> None:
        status.update_status(50, f"at {data or 'work'}")
        await let_go.wait()

    house.handlers.register(HANDLER, "last", handler)
    return let_go


async def only_run(house: House):
    (run,) = await house.store.runs()
    return run


# By the clock


async def test_a_due_task_runs_once_a_day(house: House) -> None:
    """The program runs, its output is in the log, its result in the history, and tomorrow is next."""
    task = await house.register(daily(running("echo", "good night")))
    await house.at(NIGHT + TWO_HOURS)
    run = await house.ended(await only_run(house))
    assert (run.state, run.result, run.trigger) == (RunState.FINISHED, 0, 1)
    assert run.occurrence == "1@2026-01-10T22:00:00.000000Z"
    log = await house.tasks.log(run.operation)
    assert [line.text for line in log if line.level is LogLevel.OUTPUT] == ["good night"]
    await house.scheduler.look()
    assert len(await house.store.runs()) == 1
    known = await house.store.get(task.id)
    assert (known.last_result, known.next_due) == (0, NIGHT + TWO_HOURS + DAY)
    assert (await house.tasks.get(run.operation)).result is TaskResult.SUCCESS


async def test_an_exit_code_is_the_result(house: House) -> None:
    """A failing program ends its operation with an error, and is not run again by itself."""
    definition = running("sh", "-c 'exit 3'")
    definition.settings.restart_count, definition.settings.restart_interval = 2, Duration("PT1M")
    task = await house.register(definition)
    run = await house.ended(await house.scheduler.start(task))
    assert (run.state, run.result, run.attempt) == (RunState.FINISHED, 3, 1)
    assert (await house.store.get(task.id)).last_result == 3
    assert (await house.tasks.get(run.operation)).result is TaskResult.UNEXPECTED_ERROR


async def test_missed_starts_are_counted_and_not_made_up_for(house: House) -> None:
    """Without StartWhenAvailable three missed nights are three missed runs."""
    task = await house.register(daily(running("true")))
    await house.at(NIGHT + TWO_HOURS + 2 * DAY + dt.timedelta(minutes=5))
    assert await house.store.runs() == []
    assert (await house.store.get(task.id)).missed_runs == 3
    run = await house.ended(await house.scheduler.start(await house.store.get(task.id)))
    assert (await house.store.get(run.task_id)).missed_runs == 0


async def test_a_missed_start_is_made_up_for_once_after_ten_minutes(house: House) -> None:
    """StartWhenAvailable: one catch-up for however many misses, ten minutes after the service is back."""
    definition = daily(running("true"))
    definition.settings.start_when_available = True
    task = await house.register(definition)
    back = NIGHT + TWO_HOURS + 2 * DAY + dt.timedelta(minutes=5)
    await house.at(back)
    run = await only_run(house)
    assert (run.state, run.due) == (RunState.QUEUED, back + dt.timedelta(minutes=10))
    assert await house.scheduler.state(await house.store.get(task.id)) is TaskState.QUEUED
    await house.at(back + dt.timedelta(minutes=9))
    assert (await only_run(house)).state is RunState.QUEUED
    await house.at(back + dt.timedelta(minutes=10))
    assert (await house.ended(run)).state is RunState.FINISHED


async def test_a_random_delay_is_kept_and_drawn_again_alike(house: House) -> None:
    """The start is late by its drawn delay, the same after a restart, and within the limit."""
    definition = daily(handling())
    definition.triggers[1].random_delay = "PT1H"
    house.handlers.register(HANDLER, "none", lambda status, data: asyncio.sleep(0))
    task = await house.register(definition)
    delay = task.next_due - NIGHT - TWO_HOURS
    assert dt.timedelta(0) <= delay <= dt.timedelta(hours=1)
    await house.at(task.next_due - dt.timedelta(seconds=1))
    assert await house.store.runs() == []
    house.restart()
    await house.at(task.next_due)
    run = await only_run(house)
    assert (run.due, run.occurrence) == (task.next_due, "1@2026-01-10T22:00:00.000000Z")


async def test_a_registration_trigger_starts_the_task_after_its_delay(house: House) -> None:
    """On registration and on each change, unless the flags say no."""
    definition = running("true")
    definition.triggers.create(TriggerType.REGISTRATION).delay = "PT5M"
    ignoring = TaskCreation.CREATE | TaskCreation.IGNORE_REGISTRATION_TRIGGERS
    await house.registry.register("\\t", definition, ignoring, owner="ana")
    assert await house.store.runs() == []
    await house.register(definition)
    await house.at(NIGHT + dt.timedelta(minutes=4))
    assert (await only_run(house)).state is RunState.QUEUED
    await house.at(NIGHT + dt.timedelta(minutes=5))
    assert (await house.ended(await only_run(house))).state is RunState.FINISHED


async def test_an_expired_task_is_deleted_after_its_time(house: House) -> None:
    """A day after its last trigger ended, and not before."""
    definition = daily(running("true"))
    definition.triggers[1].end_boundary = Boundary("2026-01-10T23:00:00")
    definition.settings.delete_expired_task_after = Duration("P1D")
    task = await house.register(definition)
    await house.at(NIGHT + TWO_HOURS)
    await house.ended(await only_run(house))
    await house.at(NIGHT + dt.timedelta(hours=26))
    assert await house.store.get(task.id) is not None
    await house.at(NIGHT + dt.timedelta(hours=28))
    assert await house.store.get(task.id) is None


# Policies


async def second_start(house: House, policy: InstancesPolicy):
    let_go = await lasting(house)
    task = await house.register(handling(policy))
    first = await house.scheduler.start(task)
    await house.clock.advance(0)
    second = await house.scheduler.start(task)
    return let_go, task, first, second


async def test_ignore_new_starts_none_beside_the_one_that_runs(house: House) -> None:
    """The second start is in the history, with its reason."""
    let_go, _, first, second = await second_start(house, InstancesPolicy.IGNORE_NEW)
    assert (second.state, second.result) == (RunState.SKIPPED, ErrorCode.SCHED_E_ALREADY_RUNNING)
    let_go.set()
    assert (await house.ended(first)).state is RunState.FINISHED


async def test_parallel_starts_another(house: House) -> None:
    """Both run, and both end."""
    let_go, task, first, second = await second_start(house, InstancesPolicy.PARALLEL)
    assert await house.scheduler.state(task) is TaskState.RUNNING
    let_go.set()
    assert (await house.ended(first)).state is (await house.ended(second)).state is RunState.FINISHED


async def test_queue_waits_for_the_one_before(house: House) -> None:
    """The second starts when the first has ended."""
    let_go, _, first, second = await second_start(house, InstancesPolicy.QUEUE)
    assert second.state is RunState.QUEUED
    await house.scheduler.look()
    assert (await house.store.run(second.id)).state is RunState.QUEUED
    let_go.set()
    await house.ended(first)
    await house.scheduler.look()
    assert (await house.ended(second)).state is RunState.FINISHED


async def test_a_queue_is_bounded(house: House) -> None:
    """One instance that hangs does not fill the house."""
    let_go, task, _, _ = await second_start(house, InstancesPolicy.QUEUE)
    states = [(await house.scheduler.start(task)).state for _ in range(12)]
    assert states.count(RunState.QUEUED) == 9
    assert states[-1] is RunState.SKIPPED
    let_go.set()


async def test_stop_existing_stops_the_one_before(house: House) -> None:
    """The first ends as terminated; the second runs."""
    let_go, _, first, second = await second_start(house, InstancesPolicy.STOP_EXISTING)
    assert (await house.ended(first)).result == ErrorCode.SCHED_S_TASK_TERMINATED
    let_go.set()
    assert (await house.ended(second)).state is RunState.FINISHED


# Conditions, limits, failures


async def test_a_condition_that_is_not_met_is_told_and_tried_again(house: House) -> None:
    """No network: skipped with its reason, tried again as RestartOnFailure says, until there is one."""
    definition = running("true")
    definition.settings.run_only_if_network_available = True
    definition.settings.restart_count, definition.settings.restart_interval = 3, Duration("PT1M")
    house.computer.network = False
    task = await house.register(definition)
    run = await house.scheduler.start(task)
    assert (await retried(house, run.id)).reason == "there is no network"
    house.computer.network = True
    await house.clock.advance(61)
    ended = await house.ended(run)
    assert (ended.state, ended.attempt) == (RunState.FINISHED, 2)


async def test_constraints_can_be_ignored_by_hand(house: House) -> None:
    """IGNORE_CONSTRAINTS skips battery, network and idle; without it the run is skipped."""
    definition = running("true")
    definition.settings.disallow_start_if_on_batteries = True
    house.computer.batteries = True
    task = await house.register(definition)
    skipped = await house.ended(await house.scheduler.start(task))
    assert (skipped.state, skipped.result) == (RunState.SKIPPED, ErrorCode.SCHED_E_TASK_ATTEMPTED)
    run = await house.ended(await house.scheduler.start(task, (), TaskRunFlags.IGNORE_CONSTRAINTS))
    assert run.state is RunState.FINISHED


async def test_the_shorter_limit_stops_the_program_and_all_its_children(house: House) -> None:
    """The trigger's limit is shorter than the task's; the whole group is gone."""
    definition = daily(running("sh", "-c 'sleep 1000 & echo $!; wait'"))
    definition.triggers[1].execution_time_limit = Duration("PT1M")
    await house.register(definition)
    await house.at(NIGHT + TWO_HOURS)

    async def started():
        found = await only_run(house)
        return found if found.state is RunState.RUNNING else None

    run = await until(started)
    await printed(house, run.operation)
    await house.clock.advance(60)
    ended = await house.ended(run)
    assert (ended.state, ended.result) == (RunState.TERMINATED, ErrorCode.SCHED_S_TASK_TERMINATED)
    child = int((await house.tasks.log(run.operation))[-1].text)
    assert not await alive(child)


async def test_stop_ends_every_instance(house: House) -> None:
    """Stop answers whether there were any, and the operation ends as cancelled."""
    task = await house.register(running("sleep", "1000"))
    assert not await house.scheduler.stop(task)
    run = await house.scheduler.start(task)
    await house.clock.advance(0)
    assert await house.scheduler.stop(task)
    assert (await house.ended(run)).state is RunState.TERMINATED
    await house.clock.advance(0)
    assert (await house.tasks.get(run.operation)).result is TaskResult.CANCELLED


async def test_all_actions_are_done_and_the_last_gives_the_result(house: House) -> None:
    """A failing action does not stop the next, unless the task says so."""
    definition = running("false")
    second = definition.actions.create(ActionType.EXEC)
    second.path, second.arguments = "echo", "$(Arg0) $$ $(Arg9)"
    task = await house.register(definition)
    run = await house.ended(await house.scheduler.start(task, ("a 'b c",)))
    assert (run.result, run.action) == (0, 2)
    assert (await house.tasks.log(run.operation))[-1].text == "a 'b c $ $(Arg9)"
    definition.extension.stop_on_failure = True
    task = await house.register(definition)
    run = await house.ended(await house.scheduler.start(task))
    assert (run.result, run.action) == (1, 1)


async def test_a_program_that_is_not_there_is_tried_again(house: House) -> None:
    """An action that cannot start is a failure, and its sentence is in the history."""
    definition = running("/no/such/program")
    definition.settings.restart_count, definition.settings.restart_interval = 1, Duration("PT1M")
    run = await house.scheduler.start(await house.register(definition))
    await retried(house, run.id)
    await house.clock.advance(61)
    ended = await house.ended(run)
    assert (ended.attempt, ended.result) == (2, ErrorCode.ERROR_FILE_NOT_FOUND)
    assert "/no/such/program" in ended.reason


async def test_no_shell_reads_the_arguments(house: House) -> None:
    """A semicolon, a dollar and a star are what they are."""
    task = await house.register(running("echo", "'; rm -rf /' $HOME * `id`"))
    run = await house.ended(await house.scheduler.start(task, ("$(id)",)))
    assert (await house.tasks.log(run.operation))[-1].text == "; rm -rf / $HOME * `id`"


# By hand


async def test_a_start_by_hand_is_refused_as_documented(house: House) -> None:
    """Disabled, not on demand, too many arguments, no session."""
    task = await house.register(running("true"))
    for change, arguments, flags, code in [
        ({"enabled": False}, (), 0, ErrorCode.SCHED_E_TASK_DISABLED),
        ({}, ("a",) * 33, 0, ErrorCode.E_INVALIDARG),
        ({}, (), TaskRunFlags.USE_SESSION_ID, ErrorCode.E_INVALIDARG),
    ]:
        with pytest.raises(InnkeeperError) as refused:
            await house.scheduler.start(dataclasses.replace(task, **change), arguments, TaskRunFlags(flags))
        assert refused.value.code is code
    definition = running("true")
    definition.settings.allow_demand_start = False
    with pytest.raises(ScheduleError) as refused:
        await house.scheduler.start(await house.register(definition))
    assert refused.value.code is ErrorCode.SCHED_E_START_ON_DEMAND


async def test_a_handler_is_an_operation_of_the_inn(house: House) -> None:
    """Its status is the operation's progress, its result the run's; an unknown class id is an error."""

    async def handler(status, data) -> None:
        status.update_status(40, data)
        status.task_completed(7)

    house.handlers.register(HANDLER.lower(), "work", handler)
    definition = handling()
    definition.actions[1].data = "for $(Arg0)"
    run = await house.ended(await house.scheduler.start(await house.register(definition), ("web-1",)))
    assert run.result == 7
    assert any(event.data.get("phase") == "for web-1" for event in house.events)
    definition.actions[1].class_id = "{00000000-0000-0000-0000-000000000000}"
    run = await house.ended(await house.scheduler.start(await house.register(definition)))
    assert run.result == ErrorCode.SCHED_E_INVALID_TASK


# Crashes


async def test_a_claimed_start_goes_on_after_a_crash(house: House) -> None:
    """The crash came between the claim and the start: the new process makes it, once."""
    await house.register(daily(running("true")))
    await house.clock.advance(TWO_HOURS.total_seconds())
    (found,) = await house.store.due(house.clock.now(), 1)
    (run,) = await house.store.claim([house.scheduler._claim(found, house.clock.now(), {})])
    house.restart()
    await house.tasks.launch()
    await house.scheduler.look()
    assert (await house.ended(run)).state is RunState.FINISHED
    assert len(await house.store.runs()) == 1
    assert len(await house.tasks.list()) == 1


async def test_an_instance_that_ran_at_a_crash_is_not_started_twice(house: House) -> None:
    """Its program may have done anything: the history says so, and no second one is started."""
    let_go = await lasting(house)
    task = await house.register(handling())
    run = await house.scheduler.start(task)
    await house.clock.advance(0)
    await house.tasks.close()
    house.restart()
    await house.tasks.launch()
    let_go.set()
    ended = await house.ended(run)
    assert (ended.state, ended.result) == (RunState.INTERRUPTED, ErrorCode.SCHED_S_TASK_TERMINATED)


async def test_two_servers_make_a_start_once(house: House) -> None:
    """Both see the task due; the store lets one of them start it."""
    definition = daily(handling())
    house.handlers.register(HANDLER, "none", lambda status, data: asyncio.sleep(0))
    await house.register(definition)
    await house.clock.advance(TWO_HOURS.total_seconds())
    (found,) = await house.store.due(house.clock.now(), 1)
    claims = [house.scheduler._claim(found, house.clock.now(), {}) for _ in range(2)]
    won = [await house.store.claim([claim]) for claim in claims]
    assert [len(runs) for runs in won] == [1, 0]


async def retried(house: House, run_id: str):
    """The run, once it waits for its next try."""

    async def waiting():
        found = await house.store.run(run_id)
        return found if found.state is RunState.QUEUED else None

    return await until(waiting)


async def printed(house: House, operation: int) -> None:
    """Wait until a real program has printed its line."""
    for _ in range(300):
        if await house.tasks.log(operation):
            return
        await asyncio.sleep(0.02)
        await house.clock.advance(0.1)
    raise AssertionError("it printed nothing")


async def alive(pid: int) -> bool:
    """Whether a process still lives, after a moment for the signal to arrive."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().split()[2]
        except FileNotFoundError:
            return False
        if state == "Z":
            return False
        await asyncio.sleep(0.02)
    return True


async def test_a_task_that_fails_leaves_the_others_to_their_time(house):
    """It is logged, looked at again after a while, and starts once it can be read again."""
    definition = daily(running("true"))
    definition.settings.start_when_available = True
    broken = await house.register(definition, name="\\a")
    sound = await house.register(daily(running("true")), name="\\b")
    house.store._tasks[broken.id] = dataclasses.replace(house.store._tasks[broken.id], xml="<broken")
    await house.at(NIGHT + TWO_HOURS)
    run = await only_run(house)
    assert run.task_id == sound.id
    await house.ended(run)
    house.store._tasks[broken.id] = dataclasses.replace(house.store._tasks[broken.id], xml=broken.xml)
    await house.at(NIGHT + TWO_HOURS + dt.timedelta(minutes=6))
    assert {each.task_id for each in await house.store.runs()} == {broken.id, sound.id}


async def test_what_another_server_starts_holds_up_no_other_task(house: House) -> None:
    """It stays due for that server, and is not looked at again and again here."""
    others = await house.register(daily(running("true")), name="\\a")
    own = await house.register(daily(running("true")), name="\\b")

    async def is_ours(task) -> bool:
        return bool(task.id != others.id)

    house.scheduler._is_ours = is_ours
    await house.at(NIGHT + TWO_HOURS)
    run = await house.ended(await only_run(house))
    assert run.task_id == own.id
    assert await house.scheduler.look() > 1
    assert (await house.store.get(others.id)).next_due <= house.clock.now()
