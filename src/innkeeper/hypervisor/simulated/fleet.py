"""Make a fleet of simulated machines: as many machines as asked for, the same ones every time."""

from __future__ import annotations

import random
import uuid
from pathlib import Path

from innkeeper.hypervisor.simulated.guests import Behaviour, Pace
from innkeeper.hypervisor.simulated.machines import SimulatedMachine, file_disk
from innkeeper.hypervisor.simulated.simulation import Lead, Simulation
from innkeeper.machines.machine import MachineState

#: The first machines of every fleet, as in the tutorial: name, state, how its updates go.
_RESIDENTS = (
    ("web-1", MachineState.RUNNING, Behaviour.GOOD),
    ("db-1", MachineState.RUNNING, Behaviour.BAD),
    ("old-1", MachineState.SAVED, Behaviour.NEEDS_REBOOT),
)
_ROLES = ("web", "db", "mail", "build", "desk", "cache", "files", "shop")
_STATES = (
    (MachineState.RUNNING, 70),
    (MachineState.TURNED_OFF, 15),
    (MachineState.SAVED, 10),
    (MachineState.PAUSED, 5),
)
_BEHAVIOURS = (
    (Behaviour.GOOD, 80),
    (Behaviour.NEEDS_REBOOT, 10),
    (Behaviour.SLOW, 3),
    (Behaviour.BAD, 3),
    (Behaviour.FAILS, 2),
    (Behaviour.REBOOTS_ITSELF, 1),
    (Behaviour.HANG, 1),
)


async def settle_fleet(simulation: Simulation, count: int) -> None:
    """Add ``count`` machines to a host; those that are there already stay as they are."""
    known = {machine.name for machine in await simulation.now()}
    fleet = (_member(number, simulation.disk_directory) for number in range(count))
    await simulation.settle(
        (machine, _LEAD_TO[state]) for machine, state in fleet if machine.name not in known
    )


def _member(number: int, disks: Path) -> tuple[SimulatedMachine, MachineState]:
    """The machine with this number."""
    chance = random.Random(number)  # noqa: S311 - the same fleet every time is the point
    if number < len(_RESIDENTS):
        name, state, behaviour = _RESIDENTS[number]
    else:
        name = f"{_ROLES[number % len(_ROLES)]}-{number // len(_ROLES) + 2}"
        (state,) = chance.choices([s for s, _ in _STATES], [w for _, w in _STATES])
        (behaviour,) = chance.choices([b for b, _ in _BEHAVIOURS], [w for _, w in _BEHAVIOURS])
    machine = SimulatedMachine(
        name=name,
        uuid=str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        memory_mib=chance.choice((256, 512, 1024, 2048)),
        vcpus=chance.choice((1, 2, 4)),
        disks=[file_disk("vda", str(disks / f"{name}.img"))],
        pace=Pace(
            boot=chance.uniform(8, 40), shut_down=chance.uniform(3, 12), update=chance.uniform(40, 400)
        ),
        behaviour=behaviour,
        labels=[name.partition("-")[0]],
    )
    return machine, state


def _running(machine: SimulatedMachine, now: float) -> None:
    machine.boot(now - 3600)
    machine.live(now)


def _saved(machine: SimulatedMachine, now: float) -> None:
    _running(machine, now)
    machine.save(now)


def _paused(machine: SimulatedMachine, now: float) -> None:
    _running(machine, now)
    machine.pause(now)


def _off(machine: SimulatedMachine, now: float) -> None:
    """Leave the machine off."""


_LEAD_TO: dict[MachineState, Lead] = {
    MachineState.TURNED_OFF: _off,
    MachineState.RUNNING: _running,
    MachineState.SAVED: _saved,
    MachineState.PAUSED: _paused,
}
