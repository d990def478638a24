"""Routes of displays: screenshots, and WebSockets to displays and serial consoles."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response, WebSocket

from innkeeper.errors import ErrorCode, MachineError, WrongState
from innkeeper.identity.roles import Role
from innkeeper.machines.screen.display import MAX_PICTURE, MIN_PICTURE, video_mode
from innkeeper.machines.screen.picture import Picture
from innkeeper.server.house import House
from innkeeper.server.http.websocket_pipe import expect_same_origin, join
from innkeeper.server.identity.needs import needs
from innkeeper.server.identity.subjects import machine_in_path
from innkeeper.server.routes.asking import TheHouse
from innkeeper.wire import display as wire
from innkeeper.wire.byte_pipe import BytePipe

router = APIRouter(prefix="/machines/{name}", tags=["display"])

_LOOK = needs(Role.VIEWER, machine_in_path("name"))
_TOUCH = needs(Role.OPERATOR, machine_in_path("name"))

_Edge = Annotated[int | None, Query(ge=MIN_PICTURE, le=MAX_PICTURE)]


@router.get(
    "/screenshot",
    operation_id="get_screenshot",
    dependencies=_LOOK,
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}, 304: {"description": "The screen shows the same"}},
)
async def get_screenshot(
    name: str,
    house: TheHouse,
    width: _Edge = None,
    height: _Edge = None,
    if_none_match: Annotated[str, Header()] = "",
) -> Response:
    """What the machine's screen shows, as PNG; within ``width`` and ``height`` where given (a thumbnail)."""
    picture = await house.display.picture(name, width=width, height=height)
    tag = f'"{hashlib.sha256(picture.png).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if tag in (each.strip().removeprefix("W/") for each in if_none_match.split(",")):
        return Response(status_code=304, headers=headers)
    return Response(picture.png, media_type="image/png", headers=headers)


@router.get("/thumbnail", operation_id="get_thumbnail", dependencies=_LOOK)
async def get_thumbnail(name: str, house: TheHouse) -> wire.ThumbnailMessage:
    """The documented thumbnail, as numbers; black for a machine without a picture."""
    return wire.ThumbnailMessage(pixels=await house.display.thumbnail(name))


@router.get("/display", operation_id="get_display", dependencies=_LOOK)
async def get_display(name: str, house: TheHouse) -> wire.DisplayMessage:
    """The machine's display: size, mode, and where it can be watched."""
    video = await house.display.video(name)
    picture = await _picture_or_none(house, name)
    return wire.DisplayMessage(
        width=picture.width if picture else None,
        height=picture.height if picture else None,
        video_mode=video_mode(picture.width, picture.height) if picture else None,
        can_resize=video.can_resize and picture is not None,
        video_model=video.model,
        address=str(video.address or ""),
        has_display=video.has_display,
    )


@router.put("/display", operation_id="set_display", dependencies=_TOUCH)
async def set_display(name: str, request: wire.SizeRequest, house: TheHouse) -> wire.SizeMessage:
    """Ask the guest for another screen size, and wait until it is set."""
    width, height = await house.display.set_dimensions(name, request.width, request.height)
    return wire.SizeMessage(width=width, height=height)


@router.websocket("/vnc", dependencies=_TOUCH)
async def watch_display(name: str, socket: WebSocket, house: TheHouse) -> None:
    """The display server's own bytes (RFB), in binary messages."""
    await _joined(socket, lambda: house.display.open(name))


@router.websocket("/console", dependencies=_TOUCH)
async def open_console(name: str, socket: WebSocket, house: TheHouse) -> None:
    """The bytes of the first serial port, in binary messages; a former console is disconnected."""
    await _joined(socket, lambda: house.display.open_console(name))


async def _joined(socket: WebSocket, open_pipe: Callable[[], Awaitable[BytePipe]]) -> None:
    expect_same_origin(socket)
    await join(socket, await open_pipe())


async def _picture_or_none(house: House, name: str) -> Picture | None:
    try:
        return await house.display.picture(name)
    except WrongState:
        return None
    except MachineError as error:
        if error.code is not ErrorCode.VM_E_NO_DISPLAY:
            raise
        return None
