"""Port for the keyboards and mice of a host's machines."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

from innkeeper.wire.states import MouseButton

#: An absolute pointer's coordinates run from 0 to this, whatever the screen's size.
MAX_PLACE = 32767


@dataclasses.dataclass(frozen=True, slots=True)
class Key:
    """One key of a US keyboard of 101 keys."""

    #: The documented identifier: ``Key_LeftCtrl``.
    name: str
    #: Linux's code of the key (``input-event-codes.h``).
    code: int
    #: QEMU's name of the key (``QKeyCode``).
    qcode: str


@dataclasses.dataclass(frozen=True, slots=True)
class KeyMoved:
    """A key goes down, or up."""

    key: Key
    down: bool


@dataclasses.dataclass(frozen=True, slots=True)
class PointerMoved:
    """The pointer moves by this many of the mouse's own steps."""

    right: int
    down: int


@dataclasses.dataclass(frozen=True, slots=True)
class PointerPlaced:
    """The pointer moves to a place, 0 to ``MAX_PLACE`` each; ``None`` leaves that coordinate as it is."""

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
    """The pointing devices of a machine."""

    #: Whether there is any.
    any: bool
    #: Whether one takes places on the screen instead of steps: a tablet.
    absolute: bool


class InputDevices(Protocol):
    """The keyboards and mice of one host's machines. A machine that does not run raises ``WrongState``."""

    async def press(self, name: str, keys: Sequence[Key], *, hold_ms: int) -> None:
        """Press up to 16 keys together, hold them, and release them. Returns at once."""

    async def feed(self, name: str, events: Sequence[InputEvent]) -> None:
        """Send these events, in order. Raises ``NotSupported`` where the host cannot."""

    async def pointers(self, name: str) -> Pointers:
        """The machine's pointing devices."""
