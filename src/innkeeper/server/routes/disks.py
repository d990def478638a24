"""Routes of virtual hard disks: questions, and work on them by tasks."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from fastapi import APIRouter, Query

from innkeeper.disks.facts import DiskFacts
from innkeeper.disks.kind import Kind
from innkeeper.identity.roles import Role
from innkeeper.server.house import House
from innkeeper.server.http.paging import BY_TEXT, ThePage, by_fields
from innkeeper.server.identity.needs import needs
from innkeeper.server.identity.subjects import files_of_a_host, machine_in_body
from innkeeper.server.messages import task_message
from innkeeper.server.routes.asking import TheHouse, TheUser, on_a_host
from innkeeper.tasks.task import Task
from innkeeper.wire import disks as wire
from innkeeper.wire.messages import Accepted

router = APIRouter(prefix="/disks", tags=["disks"], dependencies=on_a_host)

#: Which disk, by its file.
Path = Annotated[str, Query(min_length=1, max_length=wire.MAX_PATH_CHARS)]


@router.get("", operation_id="list_disks", dependencies=needs(Role.VIEWER, files_of_a_host))
async def list_disks(house: TheHouse, page: ThePage) -> wire.DiskFiles:
    """The disks in the folders of the service, and these folders."""
    found = page.of(map(str, await house.disks.list()), BY_TEXT)
    return wire.DiskFiles(
        roots=tuple(map(str, house.disks.roots.folders)),
        files=tuple(found.entries),
        next_after=found.next_after,
    )


@router.get("/roots", operation_id="list_disk_roots", dependencies=needs(Role.VIEWER, files_of_a_host))
async def list_roots(house: TheHouse) -> wire.DiskFiles:
    """The folders alone."""
    return wire.DiskFiles(roots=tuple(map(str, house.disks.roots.folders)), files=())


@router.get("/info", operation_id="get_disk", dependencies=needs(Role.VIEWER, files_of_a_host))
async def get_disk(path: Path, house: TheHouse) -> wire.HardDiskMessage:
    """One disk."""
    return _said((await house.disks.describe(path))[0])


@router.get("/chain", operation_id="get_disk_chain", dependencies=needs(Role.VIEWER, files_of_a_host))
async def get_chain(path: Path, house: TheHouse) -> wire.ChainMessage:
    """A disk and its parents, itself first."""
    return wire.ChainMessage(disks=tuple(map(_said, await house.disks.describe(path))))


@router.get("/faults", operation_id="list_disk_faults", dependencies=needs(Role.VIEWER, files_of_a_host))
async def list_faults(path: Path, house: TheHouse) -> wire.FindingList:
    """What a quick check finds wrong with a disk."""
    found = await house.disks.find_faults(path)
    return wire.FindingList(
        findings=tuple(wire.FindingMessage.model_validate(each, from_attributes=True) for each in found)
    )


@router.post(
    "/reparent", operation_id="reparent_disk", dependencies=needs(Role.ADMINISTRATOR, files_of_a_host)
)
async def reparent(request: wire.ReparentRequest, house: TheHouse) -> wire.HardDiskMessage:
    """Set a differencing disk's parent, and record its time."""
    await house.disks.reparent(request.path, request.parent, accept_other_id=request.accept_other_id)
    return _said((await house.disks.describe(request.path))[0])


@router.post(
    "/create",
    status_code=202,
    operation_id="create_disk",
    dependencies=needs(Role.ADMINISTRATOR, files_of_a_host),
)
async def create(request: wire.CreateDiskRequest, house: TheHouse, user: TheUser) -> Accepted:
    """Create a fixed, dynamic or differencing disk."""
    kind = Kind(request.kind)
    task = await house.disks.create(
        request.path, kind, owner=user, size_bytes=request.size_bytes, parent=request.parent
    )
    return _accepted(house, task)


@router.post(
    "/compact",
    status_code=202,
    operation_id="compact_disk",
    dependencies=needs(Role.OPERATOR, files_of_a_host),
)
async def compact(request: wire.CompactRequest, house: TheHouse, user: TheUser) -> Accepted:
    """Free the host's space that a disk does not need."""
    task = await house.disks.compact(request.path, owner=user, free_blocks=request.free_blocks)
    return _accepted(house, task)


@router.post(
    "/convert",
    status_code=202,
    operation_id="convert_disk",
    dependencies=needs(Role.ADMINISTRATOR, files_of_a_host),
)
async def convert(request: wire.ConvertRequest, house: TheHouse, user: TheUser) -> Accepted:
    """Convert a disk to a new image of another kind."""
    source_kind = Kind(request.source_kind) if request.source_kind is not None else None
    task = await house.disks.convert(
        request.path,
        request.target,
        Kind(request.kind),
        owner=user,
        source_kind=source_kind,
        ignore_parent_time=request.ignore_parent_time,
    )
    return _accepted(house, task)


@router.post(
    "/merge",
    status_code=202,
    operation_id="merge_disk",
    dependencies=needs(Role.ADMINISTRATOR, files_of_a_host),
)
async def merge(request: wire.MergeRequest, house: TheHouse, user: TheUser) -> Accepted:
    """Merge a differencing disk into its parent, or finish a merge that was interrupted."""
    task = await house.disks.merge(
        request.path,
        owner=user,
        keep_child=request.keep_child,
        ignore_parent_time=request.ignore_parent_time,
    )
    return _accepted(house, task)


@router.post(
    "/merge-to", status_code=202, operation_id="merge_disk_to", dependencies=needs(Role.ADMINISTRATOR)
)
async def merge_to(request: wire.MergeToRequest, house: TheHouse, user: TheUser) -> Accepted:
    """Write a differencing disk and all of its parents to a new image."""
    task = await house.disks.merge_to(
        request.path,
        request.target,
        Kind(request.kind),
        owner=user,
        ignore_parent_time=request.ignore_parent_time,
    )
    return _accepted(house, task)


@router.post(
    "/resize",
    status_code=202,
    operation_id="resize_disk",
    dependencies=needs(Role.ADMINISTRATOR, files_of_a_host),
)
async def resize(request: wire.ResizeRequest, house: TheHouse, user: TheUser) -> Accepted:
    """Make a disk larger or smaller."""
    task = await house.disks.resize(request.path, request.size_bytes, owner=user, lose_data=request.lose_data)
    return _accepted(house, task)


@router.post(
    "/check", status_code=202, operation_id="check_disk", dependencies=needs(Role.OPERATOR, files_of_a_host)
)
async def check(request: wire.CheckRequest, house: TheHouse, user: TheUser) -> Accepted:
    """Check a disk thoroughly; the findings are in the task's log."""
    return _accepted(house, await house.disks.check(request.path, owner=user, deep=request.deep))


@router.post(
    "/repair",
    status_code=202,
    operation_id="repair_disk",
    dependencies=needs(Role.ADMINISTRATOR, files_of_a_host),
)
async def repair(request: wire.RepairRequest, house: TheHouse, user: TheUser) -> Accepted:
    """Repair what can be repaired of a disk; what was done is in the task's log."""
    task = await house.disks.repair(
        request.path, owner=user, deep=request.deep, size_bytes=request.size_bytes
    )
    return _accepted(house, task)


@router.post(
    "/connect",
    operation_id="connect_machine_disks",
    dependencies=needs(Role.ADMINISTRATOR, machine_in_body("machine")),
)
async def connect(request: wire.ConnectRequest, house: TheHouse) -> wire.ConnectedMessage:
    """Connect a machine that is off to an export for each of its VHDs, which QEMU would misread."""
    machine = await house.machines.get(request.machine)
    return wire.ConnectedMessage(
        machine=machine.title, targets=tuple(await house.machines.connect_disks(machine.key))
    )


@router.get("/exports", operation_id="list_disk_exports", dependencies=needs(Role.VIEWER, files_of_a_host))
async def list_exports(house: TheHouse, page: ThePage) -> wire.ExportList:
    """The disks that are exported by NBD, to machines and to others."""
    found = page.of(await house.disks.exports(), by_fields("path"))
    return wire.ExportList(
        exports=tuple(_export(house, order.path, writable=order.writable) for order in found.entries),
        next_after=found.next_after,
    )


@router.post(
    "/exports",
    status_code=201,
    operation_id="export_disk",
    dependencies=needs(Role.ADMINISTRATOR, files_of_a_host),
)
async def export(request: wire.ExportRequest, house: TheHouse) -> wire.ExportMessage:
    """Export a disk by NBD with its parents, by a process of its own, until it is ended."""
    path = await house.disks.offer(
        request.path, writable=request.writable, ignore_parent_time=request.ignore_parent_time
    )
    return _export(house, path, writable=request.writable)


@router.delete(
    "/exports", status_code=204, operation_id="end_disk_export", dependencies=needs(Role.ADMINISTRATOR)
)
async def end_export(path: Path, house: TheHouse) -> None:
    """End an export."""
    await house.disks.end_offer(path)


def _export(house: House, path: str, *, writable: bool) -> wire.ExportMessage:
    return wire.ExportMessage(path=path, address=house.disks.address_of(path), writable=writable)


def _accepted(house: House, task: Task) -> Accepted:
    return Accepted(task=task_message(task, house.clock.now()))


def _said(facts: DiskFacts) -> wire.HardDiskMessage:
    fields = dataclasses.asdict(facts)
    for name in ("file", "parent", "unique_id"):
        fields[name] = None if fields[name] is None else str(fields[name])
    return wire.HardDiskMessage.model_validate(fields | {"kind": facts.kind.value})
