"""Describe the messages about what a machine shows."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from innkeeper.wire.messages import Message, Request, named
from innkeeper.wire.states import VideoMode

VideoModeName = Annotated[VideoMode, *named(VideoMode)]


class DisplayMessage(Message):
    """A machine's display (``IVMDisplay``)."""

    #: In pixels; nothing while the machine shows nothing.
    width: int | None
    height: int | None
    #: Taken from the size: QEMU names no mode.
    video_mode: VideoModeName | None
    #: Whether its guest can be asked for another size.
    can_resize: bool
    #: The model of its video card, or empty.
    video_model: str
    #: Where its display server (VNC) listens on its host: ``unix:PATH`` or ``HOST::PORT``; or empty.
    address: str
    #: Whether the display can be watched through the service.
    has_display: bool


class SizeRequest(Request):
    """Ask the guest for another size (``SetDimensions``)."""

    width: int
    height: int


class SizeMessage(Message):
    """The size that was taken, in pixels."""

    width: int
    height: int


class ThumbnailMessage(Message):
    """The documented thumbnail: 64 by 48 numbers, row by row; the upper 8 bits blue, then green, then red."""

    pixels: Annotated[tuple[int, ...], Field(min_length=3072, max_length=3072)]
