"""Routes of checks: whether machines can be maintained tonight."""

from __future__ import annotations

from fastapi import APIRouter

from innkeeper.identity.roles import Role
from innkeeper.machines.undo.fitness import Obstacle
from innkeeper.server.identity.needs import needs
from innkeeper.server.identity.subjects import machine_in_path, what_they_see
from innkeeper.server.identity.visibility import sees_machine
from innkeeper.server.routes.asking import TheCaller, TheHouse
from innkeeper.updates.checks import Check
from innkeeper.wire import checks as wire

router = APIRouter(tags=["updates"])


@router.get(
    "/checks",
    operation_id="list_checks",
    dependencies=needs(
        Role.VIEWER, what_they_see.of_all_servers(machines=("machine", "host"), silent=("host",))
    ),
)
async def list_checks(house: TheHouse, caller: TheCaller) -> wire.CheckList:
    """Look at every machine now: which can be maintained tonight, and what changes it for the others."""
    found = await house.checks.all()
    return wire.CheckList(
        machines=tuple(
            check_message(check) for check in found.machines if sees_machine(house, caller, check.key)
        ),
        silent=tuple(
            wire.SilentHostMessage(host=each.host, sentence=each.error.sentence, advice=each.error.advice)
            for each in found.silent
        ),
    )


@router.get(
    "/machines/{name}/check",
    operation_id="check_machine",
    dependencies=needs(Role.VIEWER, machine_in_path("name")),
)
async def check_machine(name: str, house: TheHouse) -> wire.MachineCheckMessage:
    """Look whether the machine can be maintained tonight, and what changes it if not; touches nothing."""
    return check_message(await house.checks.one(name))


def check_message(check: Check) -> wire.MachineCheckMessage:
    """Return a check as a message."""
    return wire.MachineCheckMessage(
        machine=check.machine,
        host=check.host,
        at=check.at,
        can_be_maintained=check.can_be_maintained,
        roll_back=check.roll_back,
        obstacles=tuple(map(_obstacle, check.obstacles)),
        disks=tuple(
            wire.DiskCheckMessage(disk=disk.target, path=disk.path, undo=disk.undo, directory=disk.directory)
            for disk in check.disks
        ),
        notes=check.notes,
        updates_through=check.way,
    )


def _obstacle(obstacle: Obstacle) -> wire.ObstacleMessage:
    error = obstacle.error
    return wire.ObstacleMessage(
        disk=obstacle.target,
        sentence=error.sentence,
        advice=error.advice,
        command=error.way_out,
        code=error.code.name,
    )
