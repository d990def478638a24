"""Refuse a running machine whose disks are not those of its next start: an undo point needs both alike."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from innkeeper.errors import ErrorCode, MachineUnfit
from innkeeper.machines.machine import Disk, Machine, MachineState
from innkeeper.machines.ports.host import Host
from innkeeper.machines.undo.exclusion import or_leave_out, takes_writes
from innkeeper.machines.undo.overlay_names import run_of

_ON = (MachineState.RUNNING, MachineState.PAUSED)


async def refuse_another_next_start(host: Host, machine: Machine) -> None:
    """Raises ``MachineUnfit`` for a machine without a persistent definition, or with other disks in it."""
    if machine.state not in _ON:
        return
    following = await host.disks.at_next_start(machine.name)
    if following is None:
        raise _transient(machine)
    now, then = _covered(machine, machine.disks), _covered(machine, following)
    for target in [*now, *(target for target in then if target not in now)]:
        if target not in then:
            raise _unlike(
                machine,
                now[target],
                f"was attached to the running machine alone: its next start has no {target}",
                f"Detach it, or attach it for good: virsh attach-disk {shlex.quote(machine.name)} "
                f"{shlex.quote(now[target].path)} {target} --config",
            )
        if target not in now:
            raise _unlike(
                machine,
                then[target],
                "comes with its next start only, and an update could write to it then past all undo disks",
                "Shut the machine down and start it.",
            )
        if then[target].path != now[target].path and run_of(now[target].path) is None:
            raise _unlike(
                machine,
                now[target],
                f"is {now[target].path} now, and {then[target].path} from its next start on",
                "Shut the machine down and start it.",
            )


def _covered(machine: Machine, disks: Sequence[Disk]) -> dict[str, Disk]:
    return {
        disk.target: disk for disk in disks if takes_writes(disk) and disk.target not in machine.undo_exclude
    }


def _transient(machine: Machine) -> MachineUnfit:
    name, file = shlex.quote(machine.name), shlex.quote(f"{machine.name}.xml")
    command = f"virsh dumpxml --inactive --security-info {name} > {file} && virsh define {file}"
    return MachineUnfit(
        f"{machine.title} is transient: it has no definition for another start, and is gone once it is off.",
        machine=machine.title,
        code=ErrorCode.VM_E_UNSUPPORTED_HARDWARE,
        advice=f"Define it, which leaves it running: {command}",
        way_out=command,
    )


def _unlike(machine: Machine, disk: Disk, what: str, advice: str) -> MachineUnfit:
    return MachineUnfit(
        f"The disk {disk.target} of {machine.title} {what}.",
        machine=machine.title,
        code=ErrorCode.VM_E_UNSUPPORTED_HD_DISK_TYPE,
        advice=f"{advice} {or_leave_out(machine, disk)}".rstrip(),
    )
