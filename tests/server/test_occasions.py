"""What happens in a whole inn starts its scheduled tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.model.enumerations import ActionType, TriggerType
from innkeeper.schedule.model.triggers import EventTrigger
from innkeeper.schedule.registered import RunState
from innkeeper.server.compose import open_house
from innkeeper.server.compose_base import Overrides
from innkeeper.server.house import House
from innkeeper.server.settings import FakeSettings, Settings
from innkeeper.tasks.clock import FakeClock
from innkeeper.wire.commands import Command


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A simulated inn with two machines."""
    settings = Settings(state_dir=tmp_path, socket=tmp_path / "s", fake=FakeSettings(machines=2, speed=600))
    async with open_house(settings, Overrides(clock=FakeClock(speed=600))) as house:
        yield house


async def test_a_machine_that_is_paused_starts_a_program_with_its_name(house: House) -> None:
    """From the hypervisor's event, through the query, to the program's words."""
    definition = TaskDefinition.new()
    trigger = definition.triggers.create(TriggerType.EVENT)
    assert isinstance(trigger, EventTrigger)
    selector = '<Select Path="Innkeeper/Machines">*[System[EventID=106]]</Select>'
    trigger.subscription = f'<QueryList><Query Id="0">{selector}</Query></QueryList>'
    trigger.value_queries.create("machine", "Event/EventData/Data[@Name='Subject']")
    action = definition.actions.create(ActionType.EXEC)
    action.path, action.arguments = "echo", "paused: $(machine)"
    task = await house.schedule.registry.register("\\Watch", definition, owner="ana")
    (machine, *_) = await house.machines.list()
    await house.machines.command(machine.name, Command.PAUSE, owner="ana")
    while not (
        runs := [run for run in await house.schedule.scheduler.history(task) if not run.state.is_live]
    ):
        await asyncio.sleep(0.01)
    (run,) = runs
    assert (run.state, run.result) == (RunState.FINISHED, 0)
    assert run.operation is not None
    log = [line.text for line in await house.tasks.log(run.operation)]
    assert log[-1] == f"paused: {machine.name}"
    # What its own operation did has started it no second time.
    assert len(await house.schedule.scheduler.history(task)) == 1
