"""Which machine uses which disk image (``disks.ports.DiskUsers``)."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from innkeeper.disks.children import line_of
from innkeeper.disks.ports import DiskUse
from innkeeper.errors import InnkeeperError
from innkeeper.machines.machine import Disk, DiskKind, Machine, MachineState
from innkeeper.machines.service import Machines
from innkeeper.machines.undo.overlay_names import run_of

#: Disks whose content is a file or a device of the host.
_ON_THE_HOST = frozenset({DiskKind.FILE, DiskKind.BLOCK, DiskKind.VOLUME})


class MachineDisks:
    """The disk images of all machines."""

    def __init__(self, machines: Machines) -> None:
        self._machines = machines

    async def users(self, files: Sequence[Path]) -> Sequence[DiskUse]:
        """Return the machines that use one of these files, running ones first."""
        wanted = await asyncio.to_thread(lambda: {os.path.realpath(file) for file in files})
        found = [
            use
            for machine in await self._machines.list()
            for disk in machine.disks
            if disk.kind in _ON_THE_HOST and disk.path
            for use in await self._use(machine, disk, wanted)
        ]
        return sorted(found, key=lambda use: not use.is_live)

    async def _use(self, machine: Machine, disk: Disk, wanted: set[str]) -> Sequence[DiskUse]:
        over = run_of(disk.path) is not None
        images = await self._images(machine, disk, over=over)
        for image in images:
            files = await asyncio.to_thread(_with_parents, image)
            if wanted.intersection(files):
                return [
                    DiskUse(
                        machine=machine.title,
                        state=machine.state.words,
                        is_live=machine.state is not MachineState.TURNED_OFF,
                        under_undo_disk=over and image != disk.path,
                        image=Path(files[0]),
                    )
                ]
        return ()

    async def _images(self, machine: Machine, disk: Disk, *, over: bool) -> Sequence[str]:
        """The images that a disk stands on; a volume of a pool by the file that it is."""
        if over:
            return await self._chain(machine, disk.path)
        if disk.kind is not DiskKind.VOLUME:
            return [disk.path]
        with contextlib.suppress(InnkeeperError):
            storage = await self._machines.hosts[machine.host].disks.storage(machine.name, disk.target)
            return [storage.path] if storage.path else []
        return []

    async def _chain(self, machine: Machine, path: str) -> Sequence[str]:
        try:
            return await self._machines.hosts[machine.host].disks.backing_chain(path)
        except InnkeeperError:
            # Not to be read at this moment: its own name is all that is known.
            return [path]


def _with_parents(path: str) -> list[str]:
    """Return the image, links followed, and of a VHD its parents, also where one was changed or is in use."""
    return [os.path.realpath(each) for each in line_of(Path(path))]
