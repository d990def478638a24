"""Routes that create, register, unregister and delete machines."""

from __future__ import annotations

from fastapi import APIRouter

from innkeeper.identity.roles import Role
from innkeeper.machines.new_machine import FirstBoot, NewMachine, Source
from innkeeper.server.identity.needs import needs
from innkeeper.server.identity.subjects import host_in_body, machine_in_path
from innkeeper.server.messages import machine_message, task_message
from innkeeper.server.routes.asking import TheHouse, TheUser
from innkeeper.wire import host as wire
from innkeeper.wire.configuration import DeleteMessage
from innkeeper.wire.messages import Accepted, MachineMessage

router = APIRouter(prefix="/machines", tags=["machines"])

_MAKE = needs(Role.ADMINISTRATOR, host_in_body)
_UNMAKE = needs(Role.ADMINISTRATOR, machine_in_path("name"))


@router.post("", status_code=202, operation_id="create_machine", dependencies=_MAKE)
async def create_machine(request: wire.CreateMachineRequest, house: TheHouse, user: TheUser) -> Accepted:
    """Create a machine, with its disk and its guest's settings for the first boot."""
    task = await house.creation.create(_wanted(request), host=request.host, owner=user)
    return Accepted(task=task_message(task, house.clock.now()))


@router.post("/register", status_code=201, operation_id="register_machine", dependencies=_MAKE)
async def register_machine(request: wire.RegisterRequest, house: TheHouse) -> MachineMessage:
    """Register a machine by its definition's file."""
    machine = await house.creation.register(request.path, name=request.name, host=request.host)
    return machine_message(machine, way=house.agents.way(machine.key), task_id=None)


@router.post("/{name}/unregister", operation_id="unregister_machine", dependencies=_UNMAKE)
async def unregister_machine(name: str, house: TheHouse) -> wire.UnregisteredMessage:
    """Unregister a machine, and keep all its files."""
    machine = await house.machines.get(name)
    path = await house.creation.unregister(machine.key)
    return wire.UnregisteredMessage(machine=machine.title, path=path)


@router.get("/{name}/deletion", operation_id="plan_deletion", dependencies=_UNMAKE)
async def plan_deletion(name: str, house: TheHouse, disks: bool = False) -> DeleteMessage:
    """What a deletion of the machine would remove; nothing is touched."""
    planned = await house.creation.plan_deletion(name, disks=disks)
    return DeleteMessage.model_validate(planned, from_attributes=True)


@router.delete("/{name}", status_code=202, operation_id="delete_machine", dependencies=_UNMAKE)
async def delete_machine(name: str, house: TheHouse, user: TheUser, disks: bool = False) -> Accepted:
    """Delete a machine with its saved state and undo disks; with ``disks``, its disks too."""
    task = await house.creation.delete(name, disks=disks, owner=user)
    return Accepted(task=task_message(task, house.clock.now()))


def _wanted(request: wire.CreateMachineRequest) -> NewMachine:
    source = Source.EMPTY
    if request.image:
        source = Source.OVERLAY if request.overlay else Source.COPY
    told = request.first_boot
    return NewMachine(
        name=request.name,
        memory_mib=request.memory_mib,
        vcpus=request.processors,
        source=source,
        image=request.image,
        image_format=request.image_format,
        disk_path=request.disk_path,
        disk_bytes=request.disk_bytes,
        dvd=request.dvd,
        uefi=request.uefi,
        network=request.network,
        notes=request.notes,
        labels=request.labels,
        first_boot=None if told is None else FirstBoot(**told.model_dump()),
    )
