"""Answer for tonight: what will happen, and whether it fits."""

from __future__ import annotations

from fastapi import APIRouter

from innkeeper.server.messages import tonight_message
from innkeeper.server.routes.asking import TheHouse
from innkeeper.wire import messages as wire

router = APIRouter(prefix="/tonight", tags=["updates"])


@router.get("", operation_id="get_tonight")
async def get_tonight(house: TheHouse) -> wire.TonightMessage:
    """The plan of the next 24 hours; starts nothing."""
    return tonight_message(await house.trigger.tonight())
