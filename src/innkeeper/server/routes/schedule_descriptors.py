"""Routes of security descriptors of scheduled tasks and folders."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Query

from innkeeper.errors import InvalidArgument
from innkeeper.identity.roles import Role
from innkeeper.schedule.security import sddl
from innkeeper.schedule.security.guard import by_roles
from innkeeper.schedule.security.sddl import Descriptor, Right
from innkeeper.server.house import House
from innkeeper.server.http.callers import who
from innkeeper.server.identity.needs import needs
from innkeeper.server.identity.subjects import folder_in_body, folder_in_query
from innkeeper.server.routes.asking import TheCaller, TheHouse
from innkeeper.server.routes.schedule import permitted
from innkeeper.wire import schedule as wire

router = APIRouter(prefix="/schedule", tags=["schedule"])

#: SECURITY_INFORMATION: the owner, the group, the list, the audits.
_OWNER, _GROUP, _LIST, _AUDITS = 1, 2, 4, 8
_ALL: Final = _OWNER | _GROUP | _LIST | _AUDITS

#: Which parts are asked for.
Information = Annotated[int, Query(ge=0, le=_ALL)]


@router.get(
    "/task/descriptor",
    operation_id="get_task_descriptor",
    dependencies=needs(Role.VIEWER, folder_in_query("path")),
)
async def get_task_descriptor(
    house: TheHouse, caller: TheCaller, path: str, information: Information = _ALL
) -> wire.DescriptorMessage:
    """Read a task's security descriptor (``GetSecurityDescriptor``)."""
    task = await permitted(house, caller, Right.READ_CONTROL, path)
    return await _told(house, task.sddl, task.owner, information)


@router.put(
    "/task/descriptor",
    operation_id="set_task_descriptor",
    dependencies=needs(Role.OPERATOR, folder_in_body("path")),
)
async def set_task_descriptor(
    request: wire.DescriptorRequest, house: TheHouse, caller: TheCaller
) -> wire.DescriptorMessage:
    """Set who may do what with a task (``SetSecurityDescriptor``); empty returns to roles alone."""
    task = await permitted(house, caller, Right.WRITE_DAC, request.path)
    task = await house.schedule.registry.set_descriptor(task, request.sddl, request.flags)
    return await _told(house, task.sddl, task.owner, _ALL)


@router.get(
    "/folder/descriptor",
    operation_id="get_folder_descriptor",
    dependencies=needs(Role.VIEWER, folder_in_query("path")),
)
async def get_folder_descriptor(
    house: TheHouse, caller: TheCaller, path: str, information: Information = _ALL
) -> wire.DescriptorMessage:
    """Read a folder's security descriptor (``GetSecurityDescriptor``)."""
    folder = await house.schedule.registry.folder(path)
    guard = await house.schedule.registry.guard()
    guard.check_folder(await who(caller, path), Right.READ_CONTROL, folder)
    return await _told(house, folder.sddl, "", information)


@router.put(
    "/folder/descriptor",
    operation_id="set_folder_descriptor",
    dependencies=needs(Role.ADMINISTRATOR, folder_in_body("path")),
)
async def set_folder_descriptor(
    request: wire.DescriptorRequest, house: TheHouse, caller: TheCaller
) -> wire.DescriptorMessage:
    """Set who may do what with a folder (``SetSecurityDescriptor``); empty returns to roles alone."""
    if request.flags:
        raise InvalidArgument(f"There are no flags for a folder; {request.flags:#x} were given.")
    registry = house.schedule.registry
    folder = await registry.folder(request.path)
    (await registry.guard()).check_folder(await who(caller, request.path), Right.WRITE_DAC, folder)
    folder = await registry.set_folder_descriptor(folder, request.sddl)
    return await _told(house, folder.sddl, "", _ALL)


async def _told(house: House, text: str, owner: str, information: int) -> wire.DescriptorMessage:
    found = sddl.parse(text) if text else await _of_roles(house, owner)
    shown = found.text(
        owner=bool(information & _OWNER),
        group=bool(information & _GROUP),
        entries=bool(information & _LIST),
        audits=bool(information & _AUDITS),
    )
    return wire.DescriptorMessage(sddl=shown, is_own=bool(text))


async def _of_roles(house: House, owner: str) -> Descriptor:
    return by_roles(await asyncio.to_thread(house.schedule.accounts.identifier, owner) if owner else "")
