"""Saved memory and the disks of an undo point: it must know the same disks as the machine's definition."""

from __future__ import annotations

from innkeeper.errors import MachineUnfit
from innkeeper.machines.machine import Machine, MachineState
from innkeeper.machines.ports.host import Host
from innkeeper.machines.undo.exclusion import takes_writes


async def refuse_other_disks(host: Host, machine: Machine) -> None:
    """Raises ``MachineUnfit`` where a saved machine's memory writes to other disks than are defined.

    Those that are left out of undo points by name do not count. A disk that the memory alone knows would be
    written to past the undo point; one that it does not know, it cannot be restored with.
    """
    if machine.state is not MachineState.SAVED:
        return
    saved = {
        disk.target: disk.path for disk in await host.saved_states.disks(machine.name) if takes_writes(disk)
    }
    defined = {disk.target: disk.path for disk in machine.disks if takes_writes(disk)}
    for target in sorted((saved.keys() ^ defined.keys()) - {*machine.undo_exclude}):
        path = saved.get(target) or defined[target]
        knows, lacks = ("saved memory", "definition") if target in saved else ("definition", "saved memory")
        raise MachineUnfit(
            f"The {knows} of {machine.title} has the disk {target} ({path}), and its {lacks} has not: "
            "an undo point would not cover it.",
            machine=machine.title,
            advice="Define the disks that it had when it was saved; or discard the saved state, and what "
            "its memory holds: innkeeper machine discard-saved-state " + machine.name,
        )
