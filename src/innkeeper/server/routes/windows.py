"""Answer for windows: when machines may be maintained."""

from __future__ import annotations

from fastapi import APIRouter

from innkeeper.server.messages import window_message, window_of
from innkeeper.server.routes.asking import TheHouse
from innkeeper.wire import messages as wire

router = APIRouter(prefix="/windows", tags=["windows"])


@router.get("", operation_id="list_windows")
async def list_windows(house: TheHouse) -> wire.WindowList:
    """All windows, by name."""
    now = house.clock.now()
    windows = await house.windows.list()
    return wire.WindowList(windows=tuple(window_message(window, now) for window in windows))


@router.post("", status_code=201, operation_id="add_window")
async def add_window(request: wire.WindowRequest, house: TheHouse) -> wire.WindowMessage:
    """Add a window, or replace the one of this name."""
    window = await house.windows.add(window_of(request))
    house.trigger.wake()
    return window_message(window, house.clock.now())


@router.delete("/{name}", status_code=204, operation_id="remove_window")
async def remove_window(name: str, house: TheHouse) -> None:
    """Remove a window."""
    await house.windows.remove(name)
    house.trigger.wake()
