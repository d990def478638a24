"""The machines that stand on an image file, and the files that an image stands on."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Collection, Mapping, Sequence

from innkeeper.errors import DiskError, ErrorCode, WrongState
from innkeeper.machines.machine import DiskKind, Machine
from innkeeper.machines.named_files import names, values_in
from innkeeper.machines.ports.host import Host


async def raw_user_of(hosts: Mapping[str, Host], path: str) -> str:
    """The machine of any host whose guest may have written the first bytes of a file.

    It has the file as a disk, or below one, in another format than qcow2, or names it in a way that does not
    tell the format; empty where none does. Raises where a host does not answer: its machines are not known
    then.
    """
    for host in hosts.values():
        users = [user for user in await host.disks.users(path) if user.machine]
        for user in users:
            if user.format != "qcow2":
                return user.machine
        known = {user.machine for user in users}
        for machine in await host.inventory.list():
            if machine.name not in known and names(await files_named_by(host, machine), path):
                return machine.name
    return ""


async def files_named_by(host: Host, machine: Machine) -> set[str]:
    """All that a machine stands on: the values of its definitions, and the images below its disks."""
    found = {*values_in(await host.definitions.read(machine.name)), *(disk.path for disk in machine.disks)}
    with contextlib.suppress(WrongState):
        found |= values_in(await host.saved_states.definition(machine.name))
    for disk in machine.disks:
        if disk.kind is DiskKind.FILE and disk.path:
            with contextlib.suppress(DiskError):
                found |= {*await host.disks.backing_chain(disk.path)}
    return found


async def refuse_outside(
    host: Host, path: str, image_format: str, folders: Sequence[str] | None, known: Collection[str] = ()
) -> None:
    """Refuse an image that leads to a file of the host outside the folders: it may come from anywhere.

    ``None`` for the folders: nothing is confined. Raises ``DiskError`` (ERROR_BAD_PATHNAME).
    """
    if folders is None:
        return
    outside = await host.files.outside(path, image_format, folders, tuple(known))
    if outside:
        raise DiskError(
            f"{path}: it leads to {outside}, out of the folders in which the service works on disks.",
            path=path,
            code=ErrorCode.ERROR_BAD_PATHNAME,
            advice=f"They are: {', '.join(folders)} (setting disk_roots). If you trust the image and all "
            "that it names, move that into one of them, or make the image whole: "
            f"qemu-img convert -f {image_format} -O qcow2 {shlex.quote(path)} WHOLE.qcow2",
        )
