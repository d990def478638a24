"""Backups that others take of a simulated host's machines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from innkeeper.errors import NotSupported
from innkeeper.hypervisor.simulated import disks as fake_disks
from innkeeper.hypervisor.simulated.machines import SimulatedMachine
from innkeeper.hypervisor.simulated.simulation import Simulation
from innkeeper.machines.ports.backups import Checkpoint, JobKind, Tracking


class SimulatedBackups:
    """The backups of simulated machines (``machines.ports.backups.Backups``)."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    async def checkpoints(self, name: str) -> Sequence[Checkpoint]:
        """The machine's checkpoints, oldest first."""

        def look(machine: SimulatedMachine, _: float) -> list[Checkpoint]:
            targets = [disk.target for disk in machine.disks if disk.path]
            return [
                Checkpoint(name=name, created=created, bitmaps=tuple((target, name) for target in targets))
                for name, created in machine.checkpoints
            ]

        return await self._simulation.simulate(name, look)

    async def jobs(self, name: str) -> frozenset[JobKind]:
        """What is being done with its disks now."""

        def look(machine: SimulatedMachine, now: float) -> frozenset[JobKind]:
            is_known = machine.backup_words == "a backup"
            return frozenset({JobKind.BACKUP} if is_known and now < machine.backup_until else ())

        return await self._simulation.simulate(name, look)

    async def held_by(self, name: str) -> Sequence[str]:
        """What is being done with its disks now, in words."""

        def look(machine: SimulatedMachine, now: float) -> list[str]:
            if now >= machine.backup_until:
                return []
            return [f"{machine.backup_words} of {', '.join(disk.target for disk in machine.live_disks)}"]

        return await self._simulation.simulate(name, look)

    async def gather(self, tracking: Tracking) -> bool:
        """Write down in ``side`` what the base's bitmaps are to be."""
        _require_bitmaps(tracking.base)

        def gather(machine: SimulatedMachine, _: float) -> bool:
            if Path(tracking.side).exists():
                return True
            if not fake_disks.is_overlay(tracking.overlay):
                return False
            in_base = set(machine.bitmaps.get(tracking.base, []))
            names = in_base | set(machine.bitmaps.get(tracking.overlay, [])) | tracking.begun
            if not (names - tracking.kept - tracking.gone or tracking.gone & in_base):
                return False
            fake_disks.replace_file(tracking.side, json.dumps(sorted(names - tracking.gone)).encode())
            return True

        return await self._simulation.simulate(tracking.machine, gather)

    async def restore(self, tracking: Tracking) -> None:
        """Give the base what ``side`` has."""

        def restore(machine: SimulatedMachine, _: float) -> None:
            machine.bitmaps[tracking.base] = json.loads(Path(tracking.side).read_bytes())

        await self._simulation.simulate(tracking.machine, restore)

    async def sound_bitmaps(self, tracking: Tracking) -> frozenset[str]:
        """The names of the bitmaps in the base."""
        _require_bitmaps(tracking.base)

        def look(machine: SimulatedMachine, _: float) -> frozenset[str]:
            return frozenset(machine.bitmaps.get(tracking.base, []))

        return await self._simulation.simulate(tracking.machine, look)


def _require_bitmaps(image: str) -> None:
    """Raises ``NotSupported`` for a disk that a host would keep as raw bytes: by its name, here."""
    if image.endswith(".raw"):
        raise NotSupported(f"{image} keeps no bitmaps: its format is raw.")
