"""Routes of keyboards and mice."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from innkeeper.errors import InvalidArgument
from innkeeper.identity.roles import Role
from innkeeper.server.house import House
from innkeeper.server.identity.needs import needs
from innkeeper.server.identity.subjects import machine_in_path
from innkeeper.server.routes.asking import TheHouse, TheUser
from innkeeper.wire import keyboard as wire
from innkeeper.wire.messages import Nothing

router = APIRouter(prefix="/machines/{name}", tags=["keyboard"])

_LOOK = needs(Role.VIEWER, machine_in_path("name"))
_TOUCH = needs(Role.OPERATOR, machine_in_path("name"))


@router.get("/keyboard", operation_id="get_keyboard", dependencies=_LOOK)
async def get_keyboard(
    name: str,
    house: TheHouse,
    user: TheUser,
    holder: Annotated[str, Query(max_length=64)] = "",
    key: str | None = None,
) -> wire.KeyboardMessage:
    """The keys that are down, as far as they were pressed through the service."""
    return wire.KeyboardMessage(
        pressed=await house.keyboard.pressed(name),
        is_pressed=None if key is None else await house.keyboard.is_pressed(name, key),
        exclusive=await house.keyboard.has_exclusive_access(name, session=_of(user, holder)),
    )


@router.post("/keyboard/keys", operation_id="press_keys", dependencies=_TOUCH)
async def press_keys(name: str, request: wire.KeyRequest, house: TheHouse, user: TheUser) -> Nothing:
    """Press keys, release them, or both."""
    session = _of(user, request.session)
    if request.action is wire.KeyAction.PRESS_AND_RELEASE:
        await house.keyboard.press_and_release(name, request.keys, session=session)
        return Nothing()
    press = request.action is wire.KeyAction.PRESS
    act = house.keyboard.press if press else house.keyboard.release
    for key in request.keys:
        await act(name, key, session=session)
    return Nothing()


@router.post("/keyboard/type", operation_id="type_on_keyboard", dependencies=_TOUCH)
async def type_on_keyboard(name: str, request: wire.TypeRequest, house: TheHouse, user: TheUser) -> Nothing:
    """Type text, or a key sequence; answers when all of it is typed."""
    session = _of(user, request.session)
    if (request.text is None) == (request.sequence is None):
        raise InvalidArgument(
            "Either a text or a key sequence can be typed, not both.",
            advice="Give one of “text” and “sequence”.",
        )
    if request.text is not None:
        await house.keyboard.type_text(name, request.text, session=session)
    if request.sequence is not None:
        await house.keyboard.type_sequence(name, request.sequence, session=session)
    return Nothing()


@router.put("/keyboard/exclusive", operation_id="set_exclusive_keyboard", dependencies=_TOUCH)
async def set_exclusive(name: str, request: wire.ExclusiveRequest, house: TheHouse, user: TheUser) -> Nothing:
    """Reserve the keyboard for one session, or release it."""
    session = _of(user, request.session)
    await house.keyboard.set_exclusive_access(name, request.exclusive, session=session)
    return Nothing()


@router.get("/mouse", operation_id="get_mouse", dependencies=_LOOK)
async def get_mouse(name: str, house: TheHouse) -> wire.MouseMessage:
    """The machine's mouse, as far as it was moved through the service."""
    return await _mouse(house, name)


@router.post("/mouse/move", operation_id="move_mouse", dependencies=_TOUCH)
async def move_mouse(name: str, request: wire.MoveRequest, house: TheHouse) -> wire.MouseMessage:
    """Move the mouse, by steps or to a place."""
    if request.absolute:
        await house.mouse.place(name, x=request.x, y=request.y)
    else:
        await house.mouse.move(name, right=request.x or 0, down=request.y or 0)
    return await _mouse(house, name)


@router.post("/mouse/button", operation_id="press_mouse_button", dependencies=_TOUCH)
async def press_button(name: str, request: wire.ButtonRequest, house: TheHouse) -> wire.MouseMessage:
    """Press a button, release it, or click it."""
    if request.down is None:
        await house.mouse.click(name, request.button)
    else:
        await house.mouse.set_button(name, request.button, down=request.down)
    return await _mouse(house, name)


@router.post("/mouse/wheel", operation_id="turn_mouse_wheel", dependencies=_TOUCH)
async def turn_wheel(name: str, request: wire.WheelRequest, house: TheHouse) -> wire.MouseMessage:
    """Turn the mouse's wheel."""
    await house.mouse.turn_wheel(name, request.notches)
    return await _mouse(house, name)


async def _mouse(house: House, name: str) -> wire.MouseMessage:
    facts = await house.mouse.facts(name)
    return wire.MouseMessage(
        can_be_absolute=facts.can_be_absolute, x=facts.x, y=facts.y, down=tuple(sorted(facts.down))
    )


def _of(user: str, session: str) -> str:
    """Return the session's name bound to its user, so that nobody else can use it."""
    return f"{user}/{session}"
