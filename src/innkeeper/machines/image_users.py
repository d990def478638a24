"""The machines that stand on an image file."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

from innkeeper.errors import DiskError, WrongState
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
