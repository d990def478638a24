"""Reach into a machine: the port that its keyboard and its mouse go through."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

from innkeeper.machines.screen.keys import Key
from innkeeper.wire.states import MouseButton

#: An absolute pointer's coordinates run from 0 to this, whatever the screen's size.
MAX_PLACE = 32767


@dataclasses.dataclass(frozen=True, slots=True)
class KeyMoved:
    """A key goes down, or up."""

    key: Key
    down: bool


@dataclasses.dataclass(frozen=True, slots=True)
class PointerMoved:
    """The pointer goes so far, in the mouse's own steps."""

    right: int
    down: int


@dataclasses.dataclass(frozen=True, slots=True)
class PointerPlaced:
    """The pointer goes there: 0 to ``MAX_PLACE`` each; nothing leaves that coordinate as it is."""

    x: int | None
    y: int | None


@dataclasses.dataclass(frozen=True, slots=True)
class ButtonMoved:
    """A button of the mouse goes down, or up."""

    button: MouseButton
    down: bool


@dataclasses.dataclass(frozen=True, slots=True)
class WheelTurned:
    """The wheel turns so many notches: up (away from the hand) where positive."""

    notches: int


InputEvent = KeyMoved | PointerMoved | PointerPlaced | ButtonMoved | WheelTurned


@dataclasses.dataclass(frozen=True, slots=True)
class Pointers:
    """What a machine has for a mouse."""

    #: Whether there is any.
    any: bool
    #: Whether one takes places on the screen instead of ways: a tablet.
    absolute: bool


class InputDevices(Protocol):
    """The keyboards and mice of one host's machines. A machine that does not run raises ``WrongState``."""

    async def press(self, name: str, keys: Sequence[Key], *, hold_ms: int) -> None:
        """Press up to 16 keys together, hold them, and release them. Returns at once."""

    async def feed(self, name: str, events: Sequence[InputEvent]) -> None:
        """Let these things happen, in order. Raises ``NotSupported`` where the host cannot."""

    async def pointers(self, name: str) -> Pointers:
        """What it has for a mouse."""
