"""Marks in a machine's definition: which undo points have begun to be merged into its disks.

The journal says so too; the mark is there as well where the journal is lost, or was put back from a copy.
"""

from __future__ import annotations

from innkeeper.errors import ErrorCode, MachineError
from innkeeper.machines.change import MetadataChanged, Scope
from innkeeper.machines.ports.host import Host
from innkeeper.machines.undo.overlay_names import runs_of


async def is_merge_marked(host: Host, name: str, overlays: list[str]) -> bool:
    """Whether a merge of any of these overlays into the machine's disks has begun, and was not tidied up."""
    return bool(await _marked(host, name) & runs_of(overlays))


async def mark_merge(host: Host, name: str, overlays: list[str]) -> None:
    """Note, before its first byte, that these overlays are merged."""
    marked = await _marked(host, name)
    if not runs_of(overlays) <= marked:
        await _write(host, name, marked | runs_of(overlays))


async def forget_merge(host: Host, name: str, overlays: list[str]) -> None:
    """Take the mark away: the merge has ended, and its files are gone."""
    marked = await _marked(host, name)
    if marked & runs_of(overlays):
        await _write(host, name, marked - runs_of(overlays))


def half_merged(name: str) -> MachineError:
    """The refusal to discard what a merge has begun to write into its base."""
    return MachineError(
        f"A merge of the undo disks of {name} has begun, so they can only be merged now.",
        machine=name,
        code=ErrorCode.E_FAIL,
        advice=f"Run: innkeeper machine undo {name} --merge",
    )


def unnamed_undo_disks(name: str, overlays: list[str]) -> MachineError:
    """The refusal to take undo disks for merged or discarded because no definition names them."""
    files = ", ".join(overlays)
    return MachineError(
        f"The definition of {name} does not name its undo disks {files}, and nothing says that they were "
        "merged: they may hold all that was written since.",
        machine=name,
        code=ErrorCode.VM_E_PARENT_CHILD_ID_MISMATCH,
        advice="Turn it off, make its disks use these files again in the format qcow2 "
        f"(virsh edit {name}), and run: innkeeper machine undo {name} --merge (or --discard). "
        f"To give them up: innkeeper machine undo {name} --discard",
    )


async def _marked(host: Host, name: str) -> frozenset[int]:
    return (await host.configurations.read(name)).extras.merging


async def _write(host: Host, name: str, runs: frozenset[int]) -> None:
    await host.configurations.change(name, MetadataChanged(extras={"merging": runs}), Scope.BOTH)
