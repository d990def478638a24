"""Find the files of undo points on a host, and say whether anything still stands on them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import PurePath

from innkeeper.machines.image_users import files_named_by, names
from innkeeper.machines.machine import DiskKind, Machine
from innkeeper.machines.ports.host import Host
from innkeeper.machines.undo.overlay_names import MARK, run_of


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Leftover:
    """One file of an undo point."""

    path: str
    #: The run that made it.
    run: int
    #: The machine that stands on it, by a definition or through another image; empty where none does.
    machine: str


async def find_leftovers(hypervisor: Host) -> Sequence[Leftover]:
    """Every file of an undo point that lies beside a machine's disks or firmware variables."""
    machines = await hypervisor.inventory.list()
    found = [path for directory in _directories(machines) for path in await _marked(hypervisor, directory)]
    if not found:
        return ()
    named = [(machine.name, await files_named_by(hypervisor, machine)) for machine in machines]
    return [
        Leftover(path=path, run=run, machine=next((name for name, text in named if names(text, path)), ""))
        for path in found
        if (run := run_of(path)) is not None
    ]


def _directories(machines: Sequence[Machine]) -> list[str]:
    files = [disk.path for machine in machines for disk in machine.disks if disk.kind is DiskKind.FILE]
    files += [machine.nvram_path for machine in machines]
    return sorted({str(PurePath(path).parent) for path in files if path})


async def _marked(hypervisor: Host, directory: str) -> Sequence[str]:
    return await hypervisor.files.find(directory, MARK)
