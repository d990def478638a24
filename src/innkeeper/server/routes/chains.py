"""Routes of machines' disk chains."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter

from innkeeper.identity.roles import Role
from innkeeper.machines.machine import Disk, DiskKind
from innkeeper.machines.ports.host import Host
from innkeeper.machines.undo.overlay_names import run_of
from innkeeper.server.identity.needs import needs
from innkeeper.server.identity.subjects import machine_in_path
from innkeeper.server.routes.asking import TheHouse
from innkeeper.wire import chains as wire

router = APIRouter(prefix="/machines/{name}", tags=["machines"])


@router.get(
    "/chains", operation_id="list_machine_chains", dependencies=needs(Role.VIEWER, machine_in_path("name"))
)
async def list_chains(name: str, house: TheHouse) -> wire.DiskChainList:
    """Each image file of the machine with those it is based on: undo disks, and the disks below them."""
    machine = await house.machines.get(name)
    host = house.machines.hosts[machine.host]
    files = [disk for disk in machine.disks if disk.kind is DiskKind.FILE and disk.path]
    return wire.DiskChainList(disks=tuple(await asyncio.gather(*(_chain(host, disk) for disk in files))))


async def _chain(host: Host, disk: Disk) -> wire.DiskChainMessage:
    paths = await host.disks.backing_chain(disk.path)
    images = tuple(wire.BackingMessage(path=path, undo_run=run_of(path)) for path in paths)
    return wire.DiskChainMessage(target=disk.target, images=images)
