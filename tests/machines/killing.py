"""Kill -9 a service again and again while random commands run on its machines, and look at what is left.

Run as ``python -m tests.machines.killing --kills 500 --fake 8 --real 2 --directory DIR``. It ends with a
report as JSON; whatever is wrong is in ``faults``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TextIO

from innkeeper.errors import InnkeeperError
from innkeeper.hypervisor.libvirt import embedded_root, embedded_uri, libvirt_host, prepare_root
from innkeeper.hypervisor.simulated import disks as fake_disks
from innkeeper.hypervisor.simulated.guests import GuestDisk
from innkeeper.hypervisor.simulated.host import simulated_host
from innkeeper.machines.command import LIFE
from innkeeper.machines.machine import Machine, MachineState
from innkeeper.machines.new_machine import NewMachine
from innkeeper.machines.ports.host import Host
from innkeeper.machines.service import lock_of
from innkeeper.machines.undo.leftovers import find_leftovers
from innkeeper.machines.undo.undoable import stands_on_undo_disks
from innkeeper.server.compose import open_house
from innkeeper.server.compose_base import Overrides
from innkeeper.server.house import House
from innkeeper.server.settings import Settings
from innkeeper.tasks.clock import SystemClock
from innkeeper.tasks.task import TaskFilter, TaskResult
from innkeeper.wire.commands import Command
from innkeeper.wire.events import Event
from innkeeper.wire.machine_settings import MachineChanges
from innkeeper.wire.virtual_pc import UndoAction

#: No guest runs on the real machines, so none can be asked to shut down.
_COMMANDS = tuple(command for command in Command if command is not Command.SHUT_DOWN)
_ON_UNDO_DISKS = (Command.MERGE_UNDO_DISKS, Command.DISCARD_UNDO_DISKS)
_SETTLED = {MachineState.TURNED_OFF, MachineState.SAVED, MachineState.RUNNING, MachineState.PAUSED}
_TIMEOUT_S = 180.0
_MIB = 1 << 20


async def live(directory: Path, fake: int, real: int, *, until_idle: bool, out: TextIO) -> None:
    """One life of the service: random commands until it is killed, or what is unfinished and no more."""
    told: list[House] = []

    def publish(event: Event) -> None:
        if told:
            told[0].events.publish(event)

    hosts: list[Host] = []
    if fake:
        simulated = simulated_host(directory / "fake", clock=SystemClock(), publish=publish, name="fake")
        await simulated.connection.open()
        hosts.append(simulated)
    if real:
        await prepare_root(directory)
        uri = embedded_uri(embedded_root(directory))
        qemu = libvirt_host(name="real", uri=uri, publish=publish, state_directory=directory)
        await qemu.connection.open()
        hosts.append(qemu)
    settings = Settings(state_dir=directory, socket=directory / "s")
    async with open_house(settings, Overrides(hypervisors=hosts)) as house:
        told.append(house)
        await _settle(house, {"fake": fake, "real": real})
        print("ready", file=out, flush=True)
        if until_idle:
            await _idle(house)
            print(json.dumps(await _judge(house, directory)), file=out, flush=True)
        else:
            await _commands(house)
    for host in hosts:
        for machine in await host.inventory.list() if until_idle else ():
            await host.lifecycle.turn_off(machine.name)
        await host.connection.close()


async def _settle(house: House, counts: dict[str, int]) -> None:
    """Make the machines that are not there yet."""
    known = {machine.name for machine in await house.machines.list()}
    for host, count in counts.items():
        for number in range(count):
            name = f"{host}-{number}"
            if name not in known:
                wanted = NewMachine(name=name, memory_mib=32, disk_bytes=16 * _MIB, network="")
                task = await house.creation.create(wanted, host=host, owner="test")
                await house.tasks.wait(task.id)


async def _commands(house: House) -> None:
    """Give commands at random, several at once, for ever."""
    chance = random.Random()
    while True:
        machines = await house.machines.list()
        for machine in chance.sample(machines, min(3, len(machines))):
            try:
                await _command(house, machine, chance)
            except InnkeeperError:
                continue  # refused: the machine was busy, or its state did not allow it
        await asyncio.sleep(chance.uniform(0, 0.3))


async def _command(house: House, machine: Machine, chance: random.Random) -> None:
    roll = chance.random()
    if roll < 0.1:
        wishes = MachineChanges(undoable=chance.random() < 0.8, undo_action=chance.choice(list(UndoAction)))
        await house.equipment.settings.change(machine.name, wishes)
    elif roll < 0.15:
        extra = NewMachine(name=f"extra-{machine.name}", memory_mib=32, disk_bytes=16 * _MIB, network="")
        await house.creation.create(extra, host=machine.host, owner="test")
    elif roll < 0.2:
        await house.creation.delete(f"extra-{machine.name}", disks=True, owner="test")
    else:
        idle = () if stands_on_undo_disks(machine) else _ON_UNDO_DISKS
        known = [command for command in _COMMANDS if command not in idle]
        possible = [command for command in known if (machine.state, command) in LIFE]
        for command in chance.sample(possible, min(1, len(possible))):
            await house.machines.command(machine.name, command, owner="test")


async def _idle(house: House) -> None:
    """Wait until every task has ended, and nothing more is begun."""
    deadline = time.monotonic() + _TIMEOUT_S
    while await house.tasks.list(TaskFilter(live=True)) or await _pending(house):
        if time.monotonic() > deadline:
            return
        await asyncio.sleep(0.2)


async def _pending(house: House) -> bool:
    machines = await house.machines.list()
    return any(m.undo_pending and m.state is MachineState.TURNED_OFF for m in machines)


async def _judge(house: House, directory: Path) -> dict[str, object]:
    """What is wrong, and what happened."""
    faults = [
        f"task {task.id} ({task.description}) never ended"
        for task in await house.tasks.list(TaskFilter(live=True))
    ]
    results: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    before_id = None
    while page := await house.tasks.list(TaskFilter(live=False, before_id=before_id, limit=500)):
        before_id = page[-1].id
        for task in page:
            results[task.result.name if task.result is not None else "NONE"] += 1
            if task.error:
                errors[f"{task.kind} {task.error:#x}"] += 1
            if task.result is TaskResult.THREAD_CRASH_ERROR:
                faults.append(f"task {task.id} ({task.description}) broke: {task.error_description}")
    for machine in await house.machines.list():
        faults += await _judge_machine(house, machine)
    faults += await _judge_files(house, directory)
    return {"tasks": sum(results.values()), "results": results, "errors": errors, "faults": faults}


async def _judge_machine(house: House, machine: Machine) -> list[str]:
    faults = [] if machine.state in _SETTLED else [f"{machine.name} is {machine.state.name}"]
    host = house.machines.hosts[machine.host]
    for disk in machine.disks:
        if disk.device != "disk" or not disk.path:
            continue
        try:
            chain = await host.disks.backing_chain(disk.path)
        except InnkeeperError as error:
            faults.append(f"{machine.name} has lost a disk: {error}")
            continue
        faults += [f"{path} is gone" for path in chain if not Path(path).exists()]
        if machine.host == "fake":
            GuestDisk.from_bytes(fake_disks.read(disk.path))
        elif machine.state is not MachineState.RUNNING and machine.state is not MachineState.PAUSED:
            checked = subprocess.run(
                ["qemu-img", "check", disk.path], capture_output=True, text=True, check=False
            )
            faults += [f"{disk.path}: {checked.stdout}"] if checked.returncode else []
    faults += await _judge_state(house, machine)
    return faults


def _checked(path: str) -> list[str]:
    done = subprocess.run(["qemu-img", "check", path], capture_output=True, text=True, check=False)
    return [f"{path}: {done.stdout}{done.stderr}"] if done.returncode else []


async def _judge_state(house: House, machine: Machine) -> list[str]:
    """The last command that was carried out has led where the table says."""
    last = await house.tasks.list(TaskFilter(live=False, lock=lock_of(machine.key), limit=1))
    if not last or last[0].result is not TaskResult.SUCCESS:
        return []
    leads = {passage.to for (_, command), passage in LIFE.items() if command.kind == last[0].kind}
    if MachineState.RUNNING in leads and last[0].kind == Command.STARTUP.kind:
        leads.add(MachineState.PAUSED)
    if leads and machine.state not in leads:
        return [f"{machine.name} is {machine.state.name} after task {last[0].id} ({last[0].description})"]
    return []


async def _judge_files(house: House, directory: Path) -> list[str]:
    faults = []
    for host in house.machines.hosts.values():
        leftovers = await find_leftovers(host)
        faults += [f"{each.path} is nobody's" for each in leftovers if not each.machine]
    names = {machine.name for machine in await house.machines.list()}
    for folder in (directory / "machines").iterdir() if (directory / "machines").is_dir() else ():
        if folder.is_dir() and folder.name not in names:
            faults.append(f"{folder} is nobody's: {[path.name for path in folder.iterdir()]}")
    faults += [
        f"{path} is half made" for path in directory.rglob("*.part") if "fake/machines" not in str(path)
    ]
    return faults


def kill_again_and_again(
    directory: Path, *, kills: int, fake: int, real: int, seed: int = 0
) -> dict[str, object]:
    """Let the service live and be killed so often, and once to its end; returns the report."""
    chance = random.Random(seed)
    began = time.monotonic()
    for _ in range(kills):
        life = _life(directory, fake, real, "commands")
        _await_ready(life)
        time.sleep(chance.uniform(0.05, 2.5))
        os.kill(life.pid, signal.SIGKILL)
        life.wait()
        assert life.stdout is not None
        life.stdout.close()
    life = _life(directory, fake, real, "idle")
    _await_ready(life)
    assert life.stdout is not None
    message = life.stdout.readline()
    life.wait(_TIMEOUT_S)
    report: dict[str, object] = json.loads(message or '{"faults": ["the last life did not end"]}')
    return {"kills": kills, "fake": fake, "real": real, "seconds": round(time.monotonic() - began), **report}


def _life(directory: Path, fake: int, real: int, mode: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.machines.killing", "--life", mode, "--directory", str(directory)]
    with (directory / "log").open("ab") as log:
        return subprocess.Popen(
            [*command, "--fake", str(fake), "--real", str(real)], stdout=subprocess.PIPE, stderr=log
        )


def _await_ready(life: subprocess.Popen[bytes]) -> None:
    assert life.stdout is not None
    line = life.stdout.readline()
    if line.strip() != b"ready":
        raise AssertionError(f"the service did not start: {line!r}")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--fake", type=int, default=8)
    parser.add_argument("--real", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--life", choices=["commands", "idle"])
    given = parser.parse_args()
    if given.life:
        # What the service logs is not to be taken for what is reported.
        out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        idle = given.life == "idle"
        asyncio.run(live(given.directory, given.fake, given.real, until_idle=idle, out=out))
        return
    shutil.rmtree(given.directory, ignore_errors=True)
    given.directory.mkdir(parents=True)
    report = kill_again_and_again(
        given.directory, kills=given.kills, fake=given.fake, real=given.real, seed=given.seed
    )
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
