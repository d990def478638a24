"""Describe the messages to a machine's keyboard and mouse."""

from __future__ import annotations

import enum
from typing import Annotated

from pydantic import Field

from innkeeper.wire.messages import Message, Request, named
from innkeeper.wire.states import MouseButton
from innkeeper.wire.text import OneLine

MouseButtonName = Annotated[MouseButton, *named(MouseButton)]

#: Names a client's object, for exclusive access; whoever gives none is one session with all such.
Session = Annotated[OneLine, Field(max_length=64)]


class KeyAction(enum.StrEnum):
    """What is done with a key."""

    PRESS = "press"
    RELEASE = "release"
    PRESS_AND_RELEASE = "press_and_release"


class KeyRequest(Request):
    """Press or release keys (``PressKey``, ``ReleaseKey``, ``PressAndReleaseKey``)."""

    #: One key; up to 16 to be pressed and released together.
    keys: tuple[str, ...]
    action: KeyAction = KeyAction.PRESS_AND_RELEASE
    session: Session = ""


class TypeRequest(Request):
    """Type ASCII text (``TypeAsciiText``) or a key sequence (``TypeKeySequence``): one of them."""

    text: str | None = None
    sequence: str | None = None
    session: Session = ""


class ExclusiveRequest(Request):
    """Take the keyboard, or give it back (``HasExclusiveAccess``)."""

    exclusive: bool
    session: Session = Field(min_length=1)


class KeyboardMessage(Message):
    """A keyboard, as far as it was used through the service."""

    #: The keys that are down.
    pressed: tuple[str, ...]
    #: Whether the key that was asked for is down.
    is_pressed: bool | None
    #: Whether the session that asks has it for itself.
    exclusive: bool


class MouseMessage(Message):
    """A mouse, as far as it was used through the service."""

    can_be_absolute: bool
    #: Where it was put last, in pixels.
    x: int | None
    y: int | None
    #: The buttons that are down.
    down: tuple[MouseButtonName, ...]


class MoveRequest(Request):
    """Move the mouse: to a place on the screen (pixels), or so far (its own steps)."""

    absolute: bool = False
    x: int | None = None
    y: int | None = None


class ButtonRequest(Request):
    """Press or release a button; without ``down``, click it."""

    button: MouseButtonName
    down: bool | None = None


class WheelRequest(Request):
    """Turn the wheel: up where positive."""

    notches: int
