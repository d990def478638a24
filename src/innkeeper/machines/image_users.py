"""The machines that stand on an image file."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

from innkeeper.errors import DiskError, NotSupported, WrongState
from innkeeper.machines.machine import DiskKind, Machine
from innkeeper.machines.ports.host import Host


async def raw_user_of(hosts: Mapping[str, Host], at: Host, path: str) -> str:
    """The machine of any host whose guest may have written the first bytes of the file ``path`` of ``at``.

    It has the file as a disk, or below one, in another format than qcow2, or names it in a way that does not
    tell the format; empty where none does. A file is known by its path and by its inode. Raises where a host
    does not answer: its machines are not known then.
    """
    inode = await _inode(at, path)
    for host in hosts.values():
        for machine in await host.inventory.list():
            formats = await _formats_used(host, machine)
            used_as = [
                known for file, known in formats.items() if file == path or await _inode(host, file) == inode
            ]
            if set(used_as) - {"qcow2"} or (not used_as and names(await files_named_by(host, machine), path)):
                return machine.name
    return ""


async def files_named_by(host: Host, machine: Machine) -> list[str]:
    """All that a machine stands on: its definitions' text, and the images below its disks."""
    texts = [await host.definitions.read(machine.name), *(disk.path for disk in machine.disks)]
    with contextlib.suppress(WrongState):
        texts.append(await host.saved_states.definition(machine.name))
    for disk in machine.disks:
        if disk.kind is DiskKind.FILE and disk.path:
            with contextlib.suppress(DiskError):
                texts.extend(await host.disks.backing_chain(disk.path))
    return texts


def names(texts: Sequence[str], path: str) -> bool:
    """Whether one of the texts has the path in it, plainly or as XML writes it."""
    return any(path in text or escape(path) in text for text in texts)


async def _formats_used(host: Host, machine: Machine) -> Mapping[str, str]:
    """The image files of a machine, those below its disks among them, each with its format."""
    formats: dict[str, str] = {}
    for disk in machine.disks:
        if disk.kind is DiskKind.FILE and disk.path:
            with contextlib.suppress(DiskError):
                formats |= await host.disks.chain_formats(disk.path)
            formats[disk.path] = disk.format
    return formats


async def _inode(host: Host, path: str) -> int:
    """The file's inode; 0 where there is no such file, or it lies where it cannot be looked at."""
    with contextlib.suppress(DiskError, NotSupported):
        found = await host.files.identity(path)
        return 0 if found is None else found.inode
    return 0
