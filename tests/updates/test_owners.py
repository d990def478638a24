"""What a host's next owner, or the same under other names, makes of what was begun."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import cast

import pytest

from innkeeper.errors import HypervisorError
from innkeeper.hypervisor.simulated.host import simulated_host
from innkeeper.machines.machine import MachineState
from innkeeper.machines.ports.host import Host
from innkeeper.machines.whereabouts import host_of
from innkeeper.tasks.clock import FakeClock
from innkeeper.tasks.running import RunningTask
from innkeeper.tasks.task import TaskResult
from innkeeper.updates.booking import Verdict
from innkeeper.updates.order import RunOrder
from innkeeper.updates.stuck_bookings import settle_stuck_bookings
from innkeeper.wire.commands import Command
from tests.updates.inn import Inn


async def test_a_booking_whose_run_has_ended_without_a_word_gets_its_end(tmp_path: Path) -> None:
    """From the run's report where there is one; else a person is asked. What waits or runs is left alone."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    task = await inn.start()
    await inn.ended(task.id)
    ended = await inn.booking()
    stuck = dataclasses.replace(ended, verdict=None, reason="", task_id=task.id)
    for each in (
        stuck,
        dataclasses.replace(stuck, identifier="of another run"),
        dataclasses.replace(stuck, identifier="of a lost task", task_id=9999),
        dataclasses.replace(stuck, identifier="waits", task_id=None),
    ):
        await inn.booking_store.put(each)
    assert await settle_stuck_bookings(inn.bookings, inn.tasks, inn.reports) == 3
    assert {each.identifier: each.verdict for each in await inn.bookings.list()} == {
        stuck.identifier: Verdict.KEPT,
        "of another run": Verdict.NEEDS_HELP,
        "of a lost task": Verdict.NEEDS_HELP,
        "waits": None,
    }
    assert await settle_stuck_bookings(inn.bookings, inn.tasks, inn.reports) == 0


async def test_a_run_goes_on_though_its_host_was_given_another_name(tmp_path: Path) -> None:
    """Its task knows the host's id."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    task = await inn.start()
    await inn.until_phase(task.id, "Updating")
    inn.engine.kill()
    inn.host_name = "attic"
    await inn.open()
    assert (await inn.ended(task.id)).result is TaskResult.SUCCESS
    assert (await inn.booking()).verdict is Verdict.KEPT


async def test_a_command_goes_on_though_its_host_was_given_another_name(tmp_path: Path) -> None:
    """What is journalled knows the host's id, and so does the lock."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    task = await inn.machines.command("web-1", Command.SAVE, owner="root")
    inn.engine.kill()
    inn.host_name = "attic"
    await inn.open()
    assert (await inn.ended(task.id)).result is TaskResult.SUCCESS
    assert (await inn.machines.get("attic/web-1")).state is MachineState.SAVED


@dataclasses.dataclass
class _Task:
    """A task that knows its host by the id, or not at all."""

    host: str | None


@pytest.mark.parametrize("by_task", [True, False])
@pytest.mark.parametrize("by_name", [True, False])
async def test_a_host_that_has_got_a_former_name_of_another_is_not_taken_for_it(
    tmp_path: Path, by_task: bool, by_name: bool
) -> None:
    """A task's host is found by its id; only journals from before hosts had ids go by the name."""
    hosts: dict[str, Host] = {}
    for name in ("attic", "cellar"):
        host = simulated_host(tmp_path / name, clock=FakeClock(), publish=lambda _: None, name=name)
        await host.connection.open()
        hosts[name] = host
    attic, cellar = hosts["attic"], hosts["cellar"]
    swapped = {
        "attic": dataclasses.replace(cellar, name="attic"),
        "cellar": dataclasses.replace(attic, name="cellar"),
    }
    task = _Task(host=attic.id if by_task else None)
    argument = {"host": "attic" if by_name else attic.id}
    found = host_of(swapped, cast(RunningTask, task), argument)
    assert found.id == (cellar.id if by_name and not by_task else attic.id)
    del swapped["cellar"]
    if by_task or not by_name:
        with pytest.raises(HypervisorError, match="not among those of this service any more"):
            host_of(swapped, cast(RunningTask, task), argument)


async def test_an_order_names_its_host_by_the_id(tmp_path: Path) -> None:
    """Its name may be another's when the run goes on."""
    inn = Inn(tmp_path)
    await inn.open()
    await inn.add(MachineState.RUNNING)
    machine, now = await inn.machines.get("web-1"), inn.clock.now()
    booking = await inn.bookings.book("web-1", label="Security", identifier="2026-11", booked_by="ana")
    assert RunOrder.of(booking, machine, stop_at=now, now=now).to_json()["host"] == inn.host.id
