"""Make a fleet of simulated hosts and machines: as many as asked for, the same ones every time."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import random
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from innkeeper.hypervisor.simulated.failures import Failures, Schedule
from innkeeper.hypervisor.simulated.guests import Behaviour, GuestDisk, Pace
from innkeeper.hypervisor.simulated.host import SimulatedHost, host_uri, simulated_host
from innkeeper.hypervisor.simulated.machines import SimulatedMachine, file_disk
from innkeeper.hypervisor.simulated.simulation import Simulation
from innkeeper.hypervisor.simulated.turns import Actor
from innkeeper.machines.machine import MachineState
from innkeeper.servers.fence import OPEN, Fence
from innkeeper.tasks.ports import Clock
from innkeeper.wire.events import Publish

#: The first machines of every fleet, as in the tutorial: name, state, how its updates go.
_RESIDENTS = (
    ("web-1", MachineState.RUNNING, Behaviour.GOOD),
    ("db-1", MachineState.RUNNING, Behaviour.BAD),
    ("old-1", MachineState.SAVED, Behaviour.NEEDS_REBOOT),
)
_ROLES = ("web", "db", "mail", "build", "desk", "cache", "files", "shop")
#: States, and how many of a hundred machines are in each; and the same of how updates go.
_STATES = (
    (MachineState.RUNNING, MachineState.TURNED_OFF, MachineState.SAVED, MachineState.PAUSED),
    (70, 15, 10, 5),
)
_BEHAVIOURS = (
    (
        Behaviour.GOOD,
        Behaviour.NEEDS_REBOOT,
        Behaviour.SLOW,
        Behaviour.BAD,
        Behaviour.FAILS,
        Behaviour.REBOOTS_ITSELF,
        Behaviour.HANG,
    ),
    (80, 10, 3, 3, 2, 1, 1),
)
_BOOTED_ONCE = GuestDisk(boots=1).to_bytes()


#: The names of the first hosts; later ones are called the same, with a number.
_HOSTS = (
    "attic", "cellar", "barn", "stable", "loft", "pantry", "parlour", "kitchen", "hall", "tower",
    "garden", "porch", "study", "library", "chapel", "mill", "forge", "bakery", "brewery", "dairy",
    "granary", "orchard", "well", "gate", "bridge", "lodge", "cottage", "manor", "abbey", "harbour",
)  # fmt: skip
_LONE_MEMORY_MIB = 65_536
_HOST_MEMORY_MIB = (131_072, 262_144, 524_288)
_MOST_MEMORY_MIB = 2048


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Fleet:
    """Simulated hosts: where they are, which of them, and how many machines each has."""

    #: The directory that holds them all; services that open the same one share its hosts.
    directory: Path
    #: The number of the first host, from 1.
    first_host: int = 1
    #: How many hosts there are; ``None`` is one alone, called ``fake``.
    hosts: int | None = None
    #: The machines of each host.
    machines: int
    #: Names, paces, memory, behaviours and failures follow from it.
    seed: int = 0
    #: How many failures each host has in a simulated day, on average.
    failures_a_day: float = 0.0


#: What stands before the acts on a host, by its name and its URI.
FenceOf = Callable[[str, str], Fence]


def _no_fence(name: str, uri: str) -> Fence:
    return OPEN


@contextlib.asynccontextmanager
async def open_fleet(
    fleet: Fleet, *, clock: Clock, publish: Publish, actor: Actor, fence_of: FenceOf = _no_fence
) -> AsyncIterator[Sequence[SimulatedHost]]:
    """Open the hosts of a fleet, with all of their machines.

    ``fence_of`` gives what stands before the acts on each host.
    """
    schedule = Schedule(seed=fleet.seed, a_day=fleet.failures_a_day) if fleet.failures_a_day else None
    failures = Failures(clock=clock, file=fleet.directory / "failures", schedule=schedule)
    hosts: list[SimulatedHost] = []
    async with contextlib.AsyncExitStack() as opened:
        for place in _places(fleet):
            host = simulated_host(
                place.directory,
                clock=clock,
                publish=publish,
                name=place.name,
                memory_mib=place.memory_mib,
                actor=actor,
                failures=failures,
                fence=fence_of(place.name, host_uri(place.directory)),
            )
            opened.push_async_callback(host.connection.close)
            await host.connection.open()
            await settle_fleet(host.simulation, fleet.machines, first=place.first_machine, seed=fleet.seed)
            hosts.append(host)
        await failures.open()
        opened.push_async_callback(failures.close)
        yield hosts


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """One host of a fleet."""

    name: str
    directory: Path
    memory_mib: int
    #: The number of its first machine.
    first_machine: int


def _places(fleet: Fleet) -> Sequence[_Place]:
    if fleet.hosts is None:
        return [_Place(name="fake", directory=fleet.directory, memory_mib=_LONE_MEMORY_MIB, first_machine=0)]
    return [_place(fleet, number) for number in range(fleet.first_host, fleet.first_host + fleet.hosts)]


def _place(fleet: Fleet, number: int) -> _Place:
    name = host_name(number)
    chance = random.Random(f"{fleet.seed}/{name}")  # noqa: S311 - the same host every time is the point
    return _Place(
        name=name,
        directory=fleet.directory / "hosts" / name,
        # Room for all of its machines, and some more.
        memory_mib=max(chance.choice(_HOST_MEMORY_MIB), fleet.machines * _MOST_MEMORY_MIB),
        first_machine=(number - 1) * fleet.machines,
    )


def host_name(number: int) -> str:
    """The name of a host by its number, from 1."""
    again, place = divmod(number - 1, len(_HOSTS))
    return _HOSTS[place] if again == 0 else f"{_HOSTS[place]}-{again + 1}"


async def settle_fleet(simulation: Simulation, count: int, *, first: int = 0, seed: int = 0) -> None:
    """Add ``count`` machines to a host; those that are there already stay as they are.

    ``first`` is the number of the first one: machines with other numbers have other names.
    """
    await simulation.settle(
        {
            name_of(number): functools.partial(_member, number, seed, simulation.disk_directory)
            for number in range(first, first + count)
        }
    )


def name_of(number: int) -> str:
    """The name of the machine with this number."""
    if number < len(_RESIDENTS):
        return _RESIDENTS[number][0]
    return f"{_ROLES[number % len(_ROLES)]}-{number // len(_ROLES) + 2}"


def _member(number: int, seed: int, disks: Path, at: float) -> tuple[SimulatedMachine, bytes]:
    """The machine with this number as it is at a moment, and what is on its disk."""
    # The same fleet every time is the point.
    chance = random.Random(f"{seed}/{number}" if seed else number)  # noqa: S311
    name = name_of(number)
    if number < len(_RESIDENTS):
        _, state, behaviour = _RESIDENTS[number]
    else:
        (state,) = chance.choices(*_STATES)
        (behaviour,) = chance.choices(*_BEHAVIOURS)
    machine = SimulatedMachine(
        name=name,
        uuid=str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        memory_mib=chance.choice((256, 512, 1024, _MOST_MEMORY_MIB)),
        vcpus=chance.choice((1, 2, 4)),
        pace=Pace(
            boot=chance.uniform(8, 40), shut_down=chance.uniform(3, 12), update=chance.uniform(40, 400)
        ),
        behaviour=behaviour,
        labels=[name.partition("-")[0]],
    )
    _lead(machine, state, at)
    _give_disk(machine, str(disks / f"{name}.img"))
    return machine, b"" if state is MachineState.TURNED_OFF else _BOOTED_ONCE


def _lead(machine: SimulatedMachine, state: MachineState, at: float) -> None:
    """Bring a machine into its state, by an hour that it ran before."""
    if state is MachineState.TURNED_OFF:
        return
    machine.boot(at - 3600)
    machine.live(at)
    if state is MachineState.SAVED:
        machine.save(at)
    elif state is MachineState.PAUSED:
        machine.pause(at)


def _give_disk(machine: SimulatedMachine, path: str) -> None:
    """Give a machine its disk, as if it had been there all the time."""
    machine.disks = [file_disk("vda", path)]
    if machine.is_on:
        machine.live_disks = list(machine.disks)
    if machine.saved is not None:
        machine.saved.disks = list(machine.disks)
