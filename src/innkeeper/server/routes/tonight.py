"""Route of the plan of the next 24 hours."""

from __future__ import annotations

import dataclasses

from fastapi import APIRouter

from innkeeper.identity.roles import Role
from innkeeper.server.identity.needs import needs
from innkeeper.server.identity.subjects import what_they_see
from innkeeper.server.identity.visibility import sees_machine
from innkeeper.server.messages import tonight_message
from innkeeper.server.routes.asking import TheCaller, TheHouse
from innkeeper.wire import messages as wire

router = APIRouter(prefix="/tonight", tags=["updates"])


@router.get(
    "",
    operation_id="get_tonight",
    dependencies=needs(
        Role.VIEWER,
        what_they_see.of_all_servers(
            same=("machine", "identifier"), entries=("start", "machine", "identifier"), all_true=("fits",)
        ),
    ),
)
async def get_tonight(house: TheHouse, caller: TheCaller) -> wire.TonightMessage:
    """The plan of the next 24 hours; starts nothing."""
    night = house.checks.judge(await house.trigger.tonight())
    seen = tuple(entry for entry in night.entries if sees_machine(house, caller, entry.key or entry.machine))
    return tonight_message(dataclasses.replace(night, entries=seen))
