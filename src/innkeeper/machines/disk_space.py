"""Watch the room that is left for machines' disks, and pause machines before it is gone."""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import Mapping

import structlog

from innkeeper.errors import InnkeeperError
from innkeeper.machines.machine import DiskKind, Machine, MachineState
from innkeeper.machines.service import Machines
from innkeeper.tasks.ports import Clock
from innkeeper.wire.commands import Command
from innkeeper.wire.events import Event, EventKind, Json, Publish

_log = structlog.get_logger(__name__)


#: The documented bounds: a word of warning, and the end, in bytes.
LOW_BYTES = 100 * 1024 * 1024
CRITICAL_BYTES = 20 * 1024 * 1024
_LOOK_SECONDS = 15.0
#: A host with many machines is looked at less often.
_MOST_OF_THE_TIME = 0.05

#: A directory of a host.
Place = tuple[str, str]


class DiskSpaceWatch:
    """Tells once of every machine whose disks' room falls below a bound (``OnDiskOutOfSpace``).

    Below 20 MB the machine is paused, as documented: a guest that finds no room loses data.
    """

    def __init__(self, machines: Machines, *, clock: Clock, publish: Publish) -> None:
        self._machines = machines
        self._clock = clock
        self._publish = publish
        #: The bound that each machine was told to be below.
        self._told: dict[str, int] = {}

    async def run(self) -> None:
        """Watch, until cancelled."""
        while True:
            began = self._clock.monotonic()
            try:
                await self.look()
            except InnkeeperError as error:
                _log.debug("room_not_seen", error=str(error))
            took = self._clock.monotonic() - began
            await self._clock.sleep(max(_LOOK_SECONDS, took / _MOST_OF_THE_TIME))

    async def look(self) -> None:
        """Check once every directory that a running machine writes to."""
        running = [each for each in await self._machines.everything() if each.state is MachineState.RUNNING]
        places = [_places(machine) for machine in running]
        room = await self._room(sorted(set().union(*places)))
        for machine, its_places in zip(running, places, strict=True):
            known = [(room[place], place[1]) for place in its_places if place in room]
            if known:
                await self._judge(machine, *min(known))
        for name in self._told.keys() - {machine.key for machine in running}:
            del self._told[name]

    async def _judge(self, machine: Machine, free: int, directory: str) -> None:
        bound = CRITICAL_BYTES if free < CRITICAL_BYTES else LOW_BYTES if free < LOW_BYTES else 0
        before = self._told.pop(machine.key, 0)
        if not bound:
            return
        self._told[machine.key] = bound
        if before and before <= bound:
            return
        is_critical = bound == CRITICAL_BYTES
        data: Mapping[str, Json] = {"critically_low": is_critical, "free_bytes": free, "directory": directory}
        self._publish(
            Event(
                kind=EventKind.MACHINE_DISK_OUT_OF_SPACE,
                subject=machine.key,
                at=self._clock.now(),
                data=data,
            )
        )
        if is_critical:
            await self._pause(machine)

    async def _pause(self, machine: Machine) -> None:
        try:
            await self._machines.command(machine.key, Command.PAUSE, owner="innkeeper")
        except InnkeeperError as error:
            # Whoever holds it is told of the room by their own writes.
            _log.warning("not_paused_without_room", machine=machine.title, error=str(error))

    async def _room(self, places: list[Place]) -> Mapping[Place, int]:
        asked = [self._machines.hosts[host].disks.free_bytes(directory) for host, directory in places]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        room: dict[Place, int] = {}
        for place, answer in zip(places, answers, strict=True):
            if isinstance(answer, int):
                room[place] = answer
            elif not isinstance(answer, InnkeeperError):
                raise answer
        return room


def _places(machine: Machine) -> set[Place]:
    return {
        (machine.host, posixpath.dirname(disk.path) or ".")
        for disk in machine.disks
        if disk.kind is DiskKind.FILE and disk.device == "disk" and not disk.read_only
    }
