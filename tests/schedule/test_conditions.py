"""Conditions are asked before a start and while it runs; patterns end what they started."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from innkeeper.errors import ErrorCode, ScheduleError
from innkeeper.schedule.duration import Duration
from innkeeper.schedule.linux.computer import LinuxConditions
from innkeeper.schedule.model.enumerations import TriggerType
from innkeeper.schedule.registered import RunState
from innkeeper.schedule.running.occasions import BecameIdle
from tests.schedule.house import NIGHT, House, daily, running, until

MINUTE = dt.timedelta(minutes=1)


@pytest.fixture
async def house():
    house = House()
    await house.tasks.launch()
    yield house
    await house.tasks.close()


async def begun(house: House, run):
    """The run, once its program runs."""

    async def is_running():
        found = await house.store.run(run.id)
        return found if found.state is RunState.RUNNING and house.instances.work_of(run.id) else None

    return await until(is_running)


async def forbidden(house: House, run):
    """The run, once a look at its conditions has ended it."""

    async def ended():
        await house.clock.advance(10)
        found = await house.store.run(run.id)
        return None if found.state.is_live else found

    return await until(ended)


def sleeping(**settings):
    made = running("sleep", "1000")
    for name, value in settings.items():
        setattr(made.settings, name, value)
    return made


async def test_a_task_that_goes_onto_batteries_is_stopped(house: House) -> None:
    """Where the computer has some, and the task says so."""
    house.computer.batteries = False
    run = await house.scheduler.start(await house.register(sleeping(stop_if_going_on_batteries=True)))
    await begun(house, run)
    await house.clock.advance(30)
    assert (await house.store.run(run.id)).state is RunState.RUNNING
    house.computer.batteries = True
    ended = await forbidden(house, run)
    assert (ended.state, ended.reason) == (RunState.TERMINATED, "the computer runs on batteries")
    assert ended.result == ErrorCode.SCHED_S_TASK_TERMINATED


async def test_a_task_started_in_idleness_ends_with_it(house: House) -> None:
    """By an idle trigger, without any condition of its own; StopOnIdleEnd is the default."""
    definition = sleeping()
    definition.triggers.create(TriggerType.IDLE)
    await house.register(definition)
    await house.watcher.on_occasion(BecameIdle(key="idle:1", at=NIGHT, words="idle"))
    await house.scheduler.look()
    (run,) = await house.store.runs()
    await begun(house, run)
    house.computer.busy = True
    assert (await forbidden(house, run)).reason == "the computer is not idle"


async def test_a_task_that_may_goes_on_when_the_computer_is_idle_again(house: House) -> None:
    """RestartOnIdle: stopped, waiting, started again."""
    definition = sleeping(run_only_if_idle=True)
    definition.settings.idle_settings.restart_on_idle = True
    house.computer.idle = True
    run = await house.scheduler.start(await house.register(definition))
    await begun(house, run)
    house.computer.busy, house.computer.idle = True, False

    async def waiting():
        await house.clock.advance(10)
        found = await house.store.run(run.id)
        return found if found.state is RunState.QUEUED else None

    assert (await until(waiting)).reason == "the computer is not idle"
    house.computer.busy, house.computer.idle = False, True

    async def again():
        await house.clock.advance(10)
        found = await house.store.run(run.id)
        return found if found.state is RunState.RUNNING else None

    assert (await until(again)).attempt == 2
    await house.scheduler.stop_run(await house.store.run(run.id))
    assert (await house.ended(run)).state is RunState.TERMINATED


async def test_a_network_is_asked_for_by_name(house: House) -> None:
    """Another one is no replacement."""
    definition = running("true")
    definition.settings.run_only_if_network_available = True
    definition.settings.network_settings.name = "eth7"
    house.computer.network = True
    task = await house.register(definition)
    run = await house.ended(await house.scheduler.start(task))
    assert (run.state, run.reason) == (RunState.SKIPPED, "the network eth7 is not there")
    house.computer.networks.add("eth7")
    assert (await house.ended(await house.scheduler.start(task))).state is RunState.FINISHED


def test_linux_knows_interfaces_and_connections(tmp_path: Path) -> None:
    """By the interface's state, or by NetworkManager's word for an identifier."""
    net, connections = tmp_path / "net", tmp_path / "nm"
    (net / "eth0").mkdir(parents=True)
    (net / "eth0" / "operstate").write_text("up\n")
    connections.mkdir()
    computer = LinuxConditions(network=net, connections=connections)
    assert computer.has_this_network("eth0", None) is True
    assert computer.has_this_network("eth1", None) is False
    assert computer.has_this_network("../eth0", None) is None
    assert computer.has_this_network(None, None) is None
    uuid = "{6F1D2A10-8C0E-4E7B-9C55-1B1F0E5A0001}"
    assert computer.has_this_network(None, uuid) is None
    (connections / "2").write_text(f"[device]\nconnection-uuid={uuid.strip('{}').lower()}\n")
    assert computer.has_this_network("eth1", uuid) is True
    assert computer.has_this_network("eth0", uuid.replace("1}", "2}")) is False


async def test_what_a_pattern_started_is_stopped_at_its_end(house: House) -> None:
    """StopAtDurationEnd: every ten minutes for half an hour, and nothing of it runs after that."""
    definition = daily(sleeping())
    repetition = definition.triggers[1].repetition
    repetition.interval, repetition.duration, repetition.stop_at_duration_end = (
        Duration("PT10M"),
        "PT30M",
        True,
    )
    await house.register(definition)
    await house.at(NIGHT + dt.timedelta(hours=2, minutes=10))
    (run, *_) = await house.store.runs()
    assert run.ends_by == NIGHT + dt.timedelta(hours=2, minutes=30)
    await begun(house, run)
    await house.clock.advance(19 * 60)
    assert (await house.store.run(run.id)).state is RunState.RUNNING
    await house.clock.advance(61)
    assert (await house.ended(run)).state is RunState.TERMINATED


async def test_a_program_stands_still_and_goes_on(house: House) -> None:
    """Pause and resume, of the whole group; what has ended can be neither."""
    definition = running("sh", "-c 'while :; do sleep 0.02; done'")
    run = await house.scheduler.start(await house.register(definition))
    await begun(house, run)
    pid = house.instances.work_of(run.id).pid
    await house.scheduler.pause_run(run)
    await until(lambda: state_is(pid, _STOPPED))
    await house.scheduler.resume_run(run)
    await until(lambda: state_is(pid, "SR"))
    await house.scheduler.stop_run(await house.store.run(run.id))
    await house.ended(run)
    with pytest.raises(ScheduleError, match="No instance"):
        await house.scheduler.pause_run(run)


async def test_a_paused_program_can_be_stopped(house: House, tmp_path: Path) -> None:
    """It hears that it is asked to end, and need not be killed."""
    hears = tmp_path / "hears"
    definition = running(
        "sh", f"-c 'trap \"echo bye; exit 0\" TERM; : > {hears}; while :; do sleep 0.02; done'"
    )
    definition.settings.allow_hard_terminate = False
    run = await house.scheduler.start(await house.register(definition))
    await begun(house, run)
    await until(lambda: is_there(hears))
    pid = house.instances.work_of(run.id).pid
    await house.scheduler.pause_run(run)
    await until(lambda: state_is(pid, _STOPPED))
    await house.scheduler.stop_run(await house.store.run(run.id))
    ended = await house.ended(run)
    assert ended.state is RunState.TERMINATED
    assert (await house.tasks.log(ended.operation))[-1].text == "bye"


#: D: a shell whose child was stopped between its birth and its program.
_STOPPED = "TD"


async def is_there(path: Path):
    return True if path.exists() else None


async def state_is(pid: int, states: str):
    with Path(f"/proc/{pid}/stat").open() as file:
        return True if file.read().rpartition(")")[2].split()[0] in states else None


async def test_a_priority_is_niceness(house: House) -> None:
    """7, the default, is below normal; 10 is nothing but idle time."""
    for priority, nice in ((7, "5"), (10, "19"), (5, "0")):
        definition = running("sh", "-c 'sleep 0.2; exec nice'")
        definition.settings.priority = priority
        run = await house.ended(await house.scheduler.start(await house.register(definition)))
        assert [line.text for line in await house.tasks.log(run.operation)] == [nice]
