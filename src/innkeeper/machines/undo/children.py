"""Refuse to write to an image that others stand on: merging into it would change their disks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath

from innkeeper.errors import ErrorCode, MachineUnfit
from innkeeper.machines.ports.disks import ImageUser
from innkeeper.machines.ports.host import Host
from innkeeper.machines.undo.overlay_names import run_of


async def refuse_children(
    host: Host, machine: str, bases: Mapping[str, str], others: Iterable[Host] = ()
) -> None:
    """Raises ``MachineUnfit`` where anybody else stands on one of these bases (target → image).

    Looked at are the machines of this host and of all ``others`` that have the same file, and the images
    in its folder. Undo disks that no definition names do not count: nobody's data is in them.
    """
    for target, base in bases.items():
        own = [
            user for user in await host.disks.users(base) if (user.machine, user.target) != (machine, target)
        ]
        users = [*own, *await _on_other_hosts(host, base, others)]
        for user in users:
            if user.machine or run_of(user.image) is None:
                raise _in_the_way(machine, target, base, user)


async def _on_other_hosts(host: Host, base: str, others: Iterable[Host]) -> Sequence[ImageUser]:
    """Machines of other hosts that have this very file, as hosts of one computer or one storage do."""
    found: list[ImageUser] = []
    identity = await host.files.identity(base)
    for other in others:
        if other is not host and identity is not None and await other.files.identity(base) == identity:
            found += [user for user in await other.disks.users(base) if user.machine]
    return found


def _in_the_way(machine: str, target: str, base: str, user: ImageUser) -> MachineUnfit:
    name = PurePath(base).name
    if user.machine == machine:
        return MachineUnfit(
            f"The disks {target} and {user.target} of {machine} are one image ({base}), "
            "and would each get an undo disk of their own.",
            machine=machine,
            code=ErrorCode.ERROR_SHARING_VIOLATION,
            advice="Take one of them out, or give it an image of its own (qemu-img convert).",
        )
    if user.machine and user.image == base:
        what = f"{name} is also the disk {user.target} of {user.machine}"
    elif user.machine:
        what = f"{name} is the base of {user.machine}'s disk {user.target} ({user.image})"
    else:
        what = f"{name} is the base of the image {user.image}"
    return MachineUnfit(
        f"The disk {target} of {machine} cannot be kept or undone alone: {what}, which would change with it.",
        machine=machine,
        code=ErrorCode.ERROR_SHARING_VIOLATION,
        advice=f"Give {user.machine or user.image} an image of its own (qemu-img convert), "
        f"or leave {machine} out.",
    )
