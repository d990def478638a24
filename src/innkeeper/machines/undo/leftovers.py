"""Find the files of undo points on a host, and say whether anything still stands on them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Collection, Sequence
from pathlib import PurePath

from innkeeper.errors import InnkeeperError, MachineError, NotSupported
from innkeeper.machines.image_users import files_named_by
from innkeeper.machines.machine import DiskKind, Machine
from innkeeper.machines.named_files import names
from innkeeper.machines.ports.host import Host
from innkeeper.machines.undo.overlay_names import MARK, belongs_to, run_of
from innkeeper.machines.undo.state_copies import StateCopies, noted_state


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Leftover:
    """One file of an undo point."""

    path: str
    #: The run that made it.
    run: int
    #: The machine that stands on it, by a definition or through another image; empty where none does.
    machine: str


async def find_leftovers(
    hypervisor: Host, undo_directory: str = "", *, but_of: Collection[int] = ()
) -> Sequence[Leftover]:
    """Every file of an undo point that lies beside a machine's disks or firmware variables.

    But those of some runs: to see who stands on a file is to ask for the definitions of all machines.
    Looked at too is ``undo_directory``, which the settings name for those of disks that lie in no folder.
    """
    machines = await hypervisor.inventory.list()
    own = undo_directory or await hypervisor.disks.undo_directory()
    directories = _directories(machines) | await _state_directories(hypervisor, machines)
    directories |= await _pool_directories(hypervisor, machines) | ({own} if own else set())
    marked = [path for directory in sorted(directories) for path in await _marked(hypervisor, directory)]
    found = [path for path in marked if run_of(path) not in but_of]
    if not found:
        return ()
    named = [(machine.name, await files_named_by(hypervisor, machine)) for machine in machines]
    owners = {path: next((name for name, values in named if names(values, path)), "") for path in found}
    # No definition names the copies of state files: they are wanted as long as their run's undo disks are.
    protected = {run_of(path): owner for path, owner in owners.items() if owner}
    return [
        Leftover(path=path, run=run, machine=owner or protected.get(run, ""))
        for path, owner in owners.items()
        if (run := run_of(path)) is not None
    ]


async def unnamed_files(host: Host, machine: Machine, undo_directory: str = "") -> Sequence[str]:
    """The files of this machine's undo points that nothing names: overlays, kept memory, and notes.

    A run that ends well leaves none. As long as a definition of the machine, or an image below its disks,
    names one file of a run, none of that run's is among them.
    """
    directories = _directories([machine]) | await _pool_directories(host, [machine])
    if any(disk.kind is not DiskKind.FILE for disk in machine.disks):
        directories |= (
            {directory} if (directory := undo_directory or await host.disks.undo_directory()) else set()
        )
    marked: list[str] = []
    with contextlib.suppress(NotSupported):  # the files of another computer are out of sight
        marked = [path for directory in sorted(directories) for path in await _marked(host, directory)]
    found = [path for path in marked if belongs_to(path, machine.name)]
    if not found:
        return ()
    texts = await files_named_by(host, machine)
    named = {run_of(path) for path in found if names(texts, path)}
    return [path for path in found if run_of(path) not in named]


async def delete_unnamed(host: Host, machine: Machine, undo_directory: str = "") -> Sequence[str]:
    """Delete those files, and the copies of state files that their notes speak of; returns their paths.

    May be done again after a crash. Whether another machine stands on one is to be looked at before.
    """
    found = await unnamed_files(host, machine, undo_directory)
    of_runs = {(run, PurePath(path).parent): path for path in found if (run := run_of(path)) is not None}
    for (run, _), path in of_runs.items():
        state = await noted_state(host, machine.name, path, run)
        if state is not None and belongs_to(state.note, machine.name):
            await StateCopies(host, machine.name, state).delete()
    for path in found:
        await host.disks.delete(path)
    return found


async def _state_directories(hypervisor: Host, machines: Sequence[Machine]) -> set[str]:
    """The folders of the state files that can be reached: the copies lie in them."""
    found: set[str] = set()
    for machine in machines:
        with contextlib.suppress(MachineError):
            paths = await hypervisor.state_files.find(machine.name, leave_tpm_out=True)
            found |= {str(PurePath(path).parent) for path in paths}
    return found


async def _pool_directories(hypervisor: Host, machines: Sequence[Machine]) -> set[str]:
    """The folders of volumes that are files: their undo disks lie beside them."""
    found: set[str] = set()
    for machine in machines:
        for disk in machine.disks:
            if disk.kind is DiskKind.VOLUME:
                with contextlib.suppress(InnkeeperError):
                    storage = await hypervisor.disks.storage(machine.name, disk.target)
                    found |= {str(PurePath(storage.path).parent)} if storage.kind is DiskKind.FILE else set()
    return found


def _directories(machines: Sequence[Machine]) -> set[str]:
    files = [disk.path for machine in machines for disk in machine.disks if disk.kind is DiskKind.FILE]
    files += [machine.nvram_path for machine in machines]
    return {str(PurePath(path).parent) for path in files if path}


async def _marked(hypervisor: Host, directory: str) -> Sequence[str]:
    return await hypervisor.files.find(directory, MARK)
