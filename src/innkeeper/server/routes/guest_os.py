"""Routes of guest operating systems: facts, sessions, parameters and power."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from innkeeper.errors import AgentError, WrongState
from innkeeper.identity.roles import Role
from innkeeper.machines.guest.os import RDP_SESSION, version_of
from innkeeper.machines.guest.program import expect_guest
from innkeeper.server.house import House
from innkeeper.server.identity.needs import needs
from innkeeper.server.identity.subjects import machine_in_path
from innkeeper.server.messages import task_message
from innkeeper.server.routes.asking import TheHouse, TheUser
from innkeeper.tasks.task import Task
from innkeeper.wire import guest_os as wire
from innkeeper.wire.messages import Accepted, Nothing, PrepareRequest

router = APIRouter(prefix="/machines/{name}/guest", tags=["guest"])

_LOOK = needs(Role.VIEWER, machine_in_path("name"))
_TOUCH = needs(Role.OPERATOR, machine_in_path("name"))


@router.get("", operation_id="get_guest", dependencies=_LOOK)
async def get_guest(name: str, house: TheHouse) -> wire.GuestMessage:
    """What the guest's operating system reports of itself."""
    facts = await house.guests.os.facts(name)
    version = version_of(facts)
    return wire.GuestMessage(
        computer_name=facts.computer_name,
        os_name=facts.os_name,
        os_version=facts.version or facts.version_id,
        major_version=version.major,
        minor_version=version.minor,
        build_number=version.build,
        platform_id=version.platform,
        service_pack=version.service_pack,
        product_type=version.product_type,
        kernel=f"{facts.kernel_release} {facts.kernel_version}".strip(),
        architecture=facts.architecture,
        variant=facts.variant,
    )


@router.get("/integration", operation_id="get_guest_integration", dependencies=_LOOK)
async def get_integration(name: str, house: TheHouse) -> wire.IntegrationMessage:
    """The agent in the guest, if any; also of a machine that is off."""
    return wire.IntegrationMessage(
        version=await _version_or_none(house, name),
        can_shut_down=await house.guests.os.can_shut_down(name),
        heartbeat=house.guests.heartbeats.percent_or_none((await house.machines.get(name)).key),
        time_synchronised=await house.guests.os.is_time_synchronised(name),
    )


@router.get("/version", operation_id="get_integration_version", dependencies=_LOOK)
async def get_version(name: str, house: TheHouse) -> wire.ParameterMessage:
    """The version of the agent in the guest."""
    return wire.ParameterMessage(name="version", value=await house.guests.os.version(name))


@router.get("/heartbeat", operation_id="get_heartbeat", dependencies=_LOOK)
async def get_heartbeat(name: str, house: TheHouse) -> wire.HeartbeatMessage:
    """Percent of the expected heartbeats of the last minute."""
    return wire.HeartbeatMessage(percent=await house.guests.heartbeats.percent(name))


@router.put("/time_sync", operation_id="set_time_sync", dependencies=_TOUCH)
async def set_time_sync(name: str, request: wire.TimeSyncRequest, house: TheHouse) -> Nothing:
    """Switch whether the guest's clock is set after every start, restore and resume; the machine is off."""
    await house.guests.os.set_time_synchronised(name, request.enabled)
    return Nothing()


@router.get("/sessions", operation_id="list_sessions", dependencies=_LOOK)
async def list_sessions(
    name: str, house: TheHouse, kind: Annotated[int, Query()] = RDP_SESSION
) -> wire.SessionList:
    """List the logged-on sessions; ``kind`` as documented: 1 for any."""
    await house.guests.os.is_user_logged_on(name, kind)
    sessions = await house.guests.os.sessions(name)
    known = [session.locked for session in sessions if session.locked is not None]
    return wire.SessionList(
        sessions=tuple(
            wire.SessionMessage.model_validate(session, from_attributes=True) for session in sessions
        ),
        locked=any(known) if known or not sessions else None,
    )


@router.post("/install", status_code=202, operation_id="install_integration_components", dependencies=_TOUCH)
async def install(name: str, request: PrepareRequest, house: TheHouse, user: TheUser) -> Accepted:
    """Install the task agent in the guest, through qemu-guest-agent; the machine runs."""
    expect_guest(await house.machines.get(name))
    return _accepted(house, await house.preparations.start(name, owner=user, force=request.force))


@router.post("/log_off", status_code=202, operation_id="log_off_guest", dependencies=_TOUCH)
async def log_off(name: str, house: TheHouse, user: TheUser) -> Accepted:
    """Log everybody off."""
    return _accepted(house, await house.guests.tasks.log_off(name, owner=user))


@router.post("/restart", status_code=202, operation_id="restart_guest", dependencies=_TOUCH)
async def restart(name: str, request: wire.ForceRequest, house: TheHouse, user: TheUser) -> Accepted:
    """Reboot the guest."""
    return _accepted(house, await house.guests.tasks.restart(name, owner=user, forced=request.forced))


@router.post("/shut_down", status_code=202, operation_id="shut_down_guest", dependencies=_TOUCH)
async def shut_down(name: str, request: wire.ForceRequest, house: TheHouse, user: TheUser) -> Accepted:
    """Shut the guest down."""
    return _accepted(house, await house.guests.tasks.shut_down(name, owner=user, forced=request.forced))


@router.get("/parameters", operation_id="list_parameters", dependencies=_LOOK)
async def list_parameters(name: str, house: TheHouse) -> wire.ParameterList:
    """All known named values of the guest; also of a machine that is off."""
    kept = await house.guests.parameters.list(name)
    return wire.ParameterList(
        parameters=tuple(
            wire.KeptParameterMessage(
                name=each.name, value=each.value or "", by_guest=each.by_guest, at=each.at
            )
            for each in kept
        )
    )


@router.get("/parameter", operation_id="get_parameter", dependencies=_LOOK)
async def get_parameter(name: str, key: str, house: TheHouse) -> wire.ParameterMessage:
    """A named value, as the guest has it now."""
    return wire.ParameterMessage(name=key, value=await house.guests.parameters.get(name, key))


@router.put("/parameter", operation_id="set_parameter", dependencies=_TOUCH)
async def set_parameter(name: str, request: wire.ParameterRequest, house: TheHouse) -> Nothing:
    """Set or remove a named value of the guest."""
    await house.guests.parameters.set(name, request.key, request.value)
    return Nothing()


async def _version_or_none(house: House, name: str) -> str | None:
    try:
        return await house.guests.os.version(name)
    except (AgentError, WrongState):
        return None


def _accepted(house: House, task: Task) -> Accepted:
    return Accepted(task=task_message(task, house.clock.now()))
