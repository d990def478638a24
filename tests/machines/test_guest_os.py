"""Guests are asked through whatever answers in them, greeted when they begin to, and listened to."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from innkeeper.errors import AgentError, ErrorCode
from innkeeper.hypervisor.simulated.guests import Behaviour
from innkeeper.machines.guest.heartbeats import Heartbeats
from innkeeper.machines.guest.initialiser import GuestInitialiser
from innkeeper.machines.guest.os import GuestOS, version_of
from innkeeper.machines.guest.parameters import HostNames, KeptParameter, Parameters
from innkeeper.machines.guest.power_tasks import GuestTasks
from innkeeper.machines.machine import MachineState
from innkeeper.tasks.task import TaskResult
from innkeeper.wire.events import Event, EventKind
from innkeeper.wire.guest_facts import GuestFacts
from tests.updates.inn import Inn


class _Kept:
    """A store of parameters in memory."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], KeptParameter] = {}
        self.breaks_for = ""

    async def put(self, machine: str, kept: KeptParameter) -> bool:
        known = self.rows.get((machine, kept.name))
        if known is not None and known.revision >= kept.revision + kept.by_guest:
            return False
        self.rows[machine, kept.name] = kept
        return True

    async def list(self, machine: str) -> Sequence[KeptParameter]:
        if machine == self.breaks_for:
            raise RuntimeError("It broke.")
        return [kept for (of, _), kept in sorted(self.rows.items()) if of == machine]


@dataclasses.dataclass
class _Guests:
    """All that speaks with the guests of an inn."""

    inn: Inn
    os: GuestOS
    tasks: GuestTasks
    parameters: Parameters
    store: _Kept
    initialiser: GuestInitialiser
    heartbeats: Heartbeats


@pytest.fixture
async def guests(tmp_path: Path) -> AsyncIterator[_Guests]:
    """An inn with a initialiser and a listener at work."""
    inn = Inn(tmp_path)
    await inn.open()
    system = GuestOS(inn.machines, inn.agents)
    kept = _Kept()
    parameters = Parameters(
        machines=inn.machines,
        guests=system,
        store=kept,
        clock=inn.clock,
        host=HostNames(name="inn", full_name="inn.example"),
    )
    made = _Guests(
        inn=inn,
        os=system,
        tasks=GuestTasks(
            machines=inn.machines, guests=system, tasks=inn.tasks, clock=inn.clock, publish=inn.events.append
        ),
        parameters=parameters,
        store=kept,
        initialiser=GuestInitialiser(
            machines=inn.machines, guests=system, parameters=parameters, clock=inn.clock
        ),
        heartbeats=Heartbeats(inn.machines, inn.agents, clock=inn.clock, publish=inn.events.append),
    )
    running = [asyncio.create_task(each.run()) for each in (made.initialiser, made.heartbeats)]
    yield made
    for each in running:
        each.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await each


def _event(guests: _Guests, kind: EventKind) -> Event:
    return Event(kind=kind, subject="web-1", at=guests.inn.clock.now())


async def test_where_only_qemu_guest_agent_is_it_is_asked(guests: _Guests) -> None:
    """And where neither is, the documented identifier says so."""
    await guests.inn.add(MachineState.RUNNING, behaviour=Behaviour.NO_AGENT)
    await guests.inn.host.simulation.simulate("web-1", lambda machine, now: machine.reset(now))
    assert (await guests.os.version("web-1")).startswith("qemu-guest-agent")
    assert (await guests.os.facts("web-1")).computer_name == "web-1"
    await guests.inn.host.simulation.simulate(
        "web-1", lambda machine, _: setattr(machine, "has_guest_agent_port", False)
    )
    with pytest.raises(AgentError) as feature:
        await guests.os.facts("web-1")
    assert feature.value.code is ErrorCode.VM_E_ADDITIONS_FEATURE_NOT_AVAIL
    with pytest.raises(AgentError) as version:
        await guests.os.version("web-1")
    assert version.value.code is ErrorCode.VM_E_ADDITIONS_NOT_AVAIL
    with pytest.raises(AgentError) as heart:
        await guests.heartbeats.percent("web-1")
    assert heart.value.code is ErrorCode.VM_E_ADDITIONS_NOT_AVAIL
    assert not await guests.os.can_shut_down("web-1")


async def test_a_guest_that_begins_to_answer_is_given_the_time_and_its_parameters(guests: _Guests) -> None:
    """After a start, and after a roll back of its disk, which has lost them."""
    machine = await guests.inn.add(MachineState.RUNNING)
    await guests.parameters.set("web-1", "colour", "green")

    def forget(simulated: object, _: float) -> None:
        guest = machine.guest()
        guest.disk.parameters.clear()
        machine.write(guest)

    await guests.inn.host.simulation.simulate("web-1", forget)
    guests.initialiser.on_event(_event(guests, EventKind.MACHINE_STARTED))
    await guests.inn.clock.advance(30)
    assert machine.memory is not None
    assert machine.memory.clock_set_at > 0
    known = {each.name: each.value for each in await guests.parameters.list("web-1")}
    assert known == {"colour": "green"}
    assert await guests.parameters.get("web-1", "colour") == "green"
    assert await guests.parameters.get("web-1", "PhysicalHostNameFullyQualified") == "inn.example"


async def test_what_fails_with_one_guest_leaves_the_others(guests: _Guests) -> None:
    """A store that breaks over one guest's words does not end the greeting of the next."""
    await guests.inn.add(MachineState.RUNNING, name="broken-1")
    machine = await guests.inn.add(MachineState.RUNNING)
    guests.store.breaks_for = (await guests.inn.machines.get("broken-1")).uuid
    guests.initialiser.on_event(
        Event(kind=EventKind.MACHINE_STARTED, subject="broken-1", at=guests.inn.clock.now())
    )
    guests.initialiser.on_event(_event(guests, EventKind.MACHINE_STARTED))
    await guests.inn.clock.advance(30)
    assert machine.memory is not None
    assert machine.memory.clock_set_at > 0


async def test_what_the_guest_has_set_since_is_not_overwritten(guests: _Guests) -> None:
    """A greeting gives what is missing, not what is old."""
    machine = await guests.inn.add(MachineState.RUNNING)
    await guests.parameters.set("web-1", "colour", "green")

    def repaint(simulated: object, _: float) -> None:
        guest = machine.guest()
        guest.disk.parameters["colour"] = ["blue", 1, True]
        machine.write(guest)

    await guests.inn.host.simulation.simulate("web-1", repaint)
    guests.initialiser.on_event(_event(guests, EventKind.AGENT_CONNECTED))
    await guests.inn.clock.advance(30)
    assert await guests.parameters.get("web-1", "colour") == "blue"
    (kept,) = await guests.parameters.list("web-1")
    assert (kept.value, kept.by_guest) == ("blue", True)


async def test_a_locked_screen_takes_force(guests: _Guests) -> None:
    """Late, as documented; nothing happens to the guest."""
    machine = await guests.inn.add(MachineState.RUNNING)

    def lock(simulated: object, _: float) -> None:
        assert machine.memory is not None
        machine.memory.users, machine.memory.locked = ["ana"], True

    await guests.inn.host.simulation.simulate("web-1", lock)
    assert await guests.os.is_screen_locked("web-1")
    for order in (guests.tasks.restart, guests.tasks.shut_down):
        refused = await guests.inn.ended((await order("web-1", owner="ana")).id)
        assert (refused.result, refused.error) == (
            TaskResult.UNEXPECTED_ERROR,
            ErrorCode.ERROR_MACHINE_LOCKED,
        )
    forced = await guests.inn.ended((await guests.tasks.shut_down("web-1", owner="ana", forced=True)).id)
    assert forced.result is TaskResult.SUCCESS
    assert (await guests.inn.machine()).state is MachineState.TURNED_OFF


async def test_a_heart_that_stops_is_told_of_once(guests: _Guests) -> None:
    """A frozen guest answers nothing."""
    await guests.inn.add(MachineState.RUNNING)
    await guests.inn.clock.advance(10)
    assert await guests.heartbeats.percent("web-1") == 100
    await guests.inn.host.guest_agents.freeze("web-1")
    await guests.inn.clock.advance(30)
    stopped = [
        event.subject for event in guests.inn.events if event.kind == EventKind.MACHINE_HEARTBEAT_STOPPED
    ]
    assert stopped == [(await guests.inn.machine()).key]
    assert await guests.heartbeats.percent("web-1") == 0


@pytest.mark.parametrize(
    ("os_id", "version_id", "variant", "wanted"),
    [
        ("debian", "12.5", "", (12, 5, "6.1.0", "debian", 0)),
        ("fedora", "41", "server", (41, 0, "6.1.0", "fedora", 0)),
        ("arch", "", "", (0, 0, "6.1.0", "arch", 0)),
        ("mswindows", "10.0.20348", "server", (10, 0, "20348", "2", 3)),
        ("mswindows", "10", "client", (10, 0, "6.1.0", "2", 1)),
    ],
)
def test_a_version_has_its_documented_parts(
    os_id: str, version_id: str, variant: str, wanted: tuple[object, ...]
) -> None:
    """Of any system; what only Windows has is nothing elsewhere."""
    facts = GuestFacts(
        computer_name="c",
        os_id=os_id,
        os_name="",
        version="",
        version_id=version_id,
        variant=variant,
        kernel_release="6.1.0",
        kernel_version="",
        architecture="",
    )
    found = version_of(facts)
    assert (found.major, found.minor, found.build, found.platform, found.product_type) == wanted
