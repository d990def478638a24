"""Memory of a simulated host's machines, as part of undo points: a small file beside their disks."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from innkeeper.errors import ErrorCode, HypervisorError, MachineUnfit
from innkeeper.hypervisor.simulated import acts
from innkeeper.hypervisor.simulated import disks as fake_disks
from innkeeper.hypervisor.simulated.machines import SimulatedMachine, memory_from_json, with_paths
from innkeeper.hypervisor.simulated.simulation import Simulation
from innkeeper.machines.machine import MachineState
from innkeeper.machines.ports.memory_points import Hardware, MemoryFile, MemoryLimits, MemoryOutlook
from innkeeper.machines.ports.progress import OnProgress

#: How long keeping and bringing back memory take the host, in simulated seconds.
TAKE_SECONDS: Final = 1.0
RESTORE_SECONDS: Final = 2.0
_WHOLE, _PARTIAL = b"LibvirtQemudSave", b"LibvirtQemudPart"


class SimulatedMemoryPoints:
    """Memory of simulated machines (``machines.ports.memory_points.MemoryPoints``)."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    async def outlook(self, name: str) -> MemoryOutlook:
        """Prospects of keeping the memory: all that the machine calls its own."""

        def look(machine: SimulatedMachine, _: float) -> MemoryOutlook:
            passed = machine.passthrough[0] if machine.passthrough else ""
            return MemoryOutlook(
                most_bytes=machine.memory_mib << 20,
                obstacle=f"it has the host's {passed}, whose state stays in the device" if passed else "",
                hardware=Hardware(
                    hypervisor=self._simulation.emulator, machine_type="simulated", processor="simulated"
                ),
            )

        return await self._simulation.simulate(name, look)

    async def write_speed(self, directory: str) -> float:
        """Bytes a second, as the simulation was told."""
        return self._simulation.write_speed

    async def take(
        self,
        name: str,
        path: str,
        overlays: Mapping[str, str],
        *,
        live: bool,
        limits: MemoryLimits,
        on_progress: OnProgress | None = None,
    ) -> None:
        """Write the memory and put the overlays over the disks; a kill on the way leaves a partial file."""
        if await self._simulation.simulate(name, lambda m, _: _is_taken(m, path, overlays)):
            return
        self._simulation.refuse_full(name)
        seconds = min(TAKE_SECONDS, limits.most_seconds)
        await self._simulation.blocking(lambda: fake_disks.replace_file(path, _PARTIAL))
        await self._simulation.take(seconds, on_progress)
        if seconds < TAKE_SECONDS:
            await self._simulation.delete(Path(path))
            raise HypervisorError(
                f"Keeping the memory of {name} was given up after {seconds:g} seconds. The guest runs on.",
                code=ErrorCode.VM_E_TIMED_OUT,
            )

        def take(machine: SimulatedMachine, now: float) -> None:
            acts.need(machine, "have its memory kept", machine.state is MachineState.RUNNING)
            _write(machine, path, now)
            for disk in machine.live_disks:
                if disk.target in overlays:
                    fake_disks.create_overlay(overlays[disk.target], disk.path, anew=True)
            machine.disks = with_paths(machine.disks, dict(overlays))
            machine.live_disks = with_paths(machine.live_disks, dict(overlays))

        await self._simulation.simulate(name, take, doing="protect")

    async def state(self, path: str) -> MemoryFile:
        """What the file is good for, by its first bytes."""
        return await self._simulation.blocking(lambda: _state(Path(path)))

    async def restore(self, name: str, path: str, on_progress: OnProgress | None = None) -> None:
        """Start the machine from the file, paused."""
        await self._simulation.simulate(name, lambda m, _: acts.need(m, "go back", not m.is_on))
        await self._simulation.take(RESTORE_SECONDS, on_progress)
        await self._simulation.simulate(
            name, lambda machine, now: _restore(machine, path, now), doing="start"
        )


def _is_taken(machine: SimulatedMachine, path: str, overlays: Mapping[str, str]) -> bool:
    acts.need(machine, "have its memory kept", machine.state is MachineState.RUNNING)
    if {disk.target: disk.path for disk in machine.live_disks if disk.target in overlays} != dict(overlays):
        return False
    if _state(Path(path)) is not MemoryFile.WHOLE:
        raise MachineUnfit(
            f"{machine.name} stands on its undo disks already, and no memory goes with them.",
            machine=machine.name,
        )
    return True


def _write(machine: SimulatedMachine, path: str, now: float) -> None:
    assert machine.memory is not None
    kept = {
        "memory": dataclasses.asdict(machine.memory),
        "disks": {disk.target: disk.path for disk in machine.live_disks},
        "at": now,
    }
    fake_disks.replace_file(path, _WHOLE + json.dumps(kept).encode())
    Path(path).chmod(0o600)


def _restore(machine: SimulatedMachine, path: str, now: float) -> None:
    if _state(Path(path)) is not MemoryFile.WHOLE:
        raise HypervisorError(f"The memory in {path} is incomplete.", code=ErrorCode.E_FAIL)
    kept = json.loads(Path(path).read_bytes().removeprefix(_WHOLE))
    own = {disk.target: disk.path for disk in machine.disks}
    if own != kept["disks"]:
        raise MachineUnfit(
            f"The disks of {machine.name} are {own}, and its memory knows {kept['disks']}.",
            machine=machine.name,
        )
    machine.live_disks = list(machine.disks)
    machine.live_definition = machine.definition
    machine.memory = memory_from_json(kept["memory"])
    machine.memory.shift(now - kept["at"])
    machine.paused_at = now


def _state(path: Path) -> MemoryFile:
    if not path.exists():
        return MemoryFile.NONE
    content = path.read_bytes()
    if content.startswith(_WHOLE):
        return MemoryFile.WHOLE
    return MemoryFile.PARTIAL if _PARTIAL.startswith(content[: len(_PARTIAL)]) else MemoryFile.FOREIGN
