"""What a machine shows, and the wires to it: the port that a host's screens and serial ports go through."""

from __future__ import annotations

import dataclasses
from typing import Protocol

from innkeeper.machines.pipe import BytePipe


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DisplayAddress:
    """Where a machine's display server (VNC) listens: a Unix socket, or a port of its host."""

    #: The socket's path on the host, or empty.
    socket: str = ""
    #: The address and the port, or empty and 0.
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        """As viewers take it: ``unix:PATH`` or ``HOST::PORT``."""
        return f"unix:{self.socket}" if self.socket else f"{self.host}::{self.port}"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Video:
    """What a machine can show with, by its definition."""

    #: The model of its video card (``virtio``, ``vga`` …); empty where it has none.
    model: str
    #: Whether a display server (VNC) shows it.
    has_display: bool
    #: Where the display server listens, while the machine runs.
    address: DisplayAddress | None

    @property
    def can_resize(self) -> bool:
        """Whether a display client can ask the guest for another size: virtio cards pass it on."""
        return self.has_display and self.model == "virtio"


class Screens(Protocol):
    """The screens and serial consoles of one host's machines.

    A machine that is off is refused with ``WrongState``; where there is no screen, no display or no
    port, ``MachineError`` says which (``VM_E_NO_DISPLAY`` for the first two).
    """

    async def video(self, name: str) -> Video:
        """What it shows with."""

    async def picture(self, name: str) -> bytes:
        """What it shows now, as PNG."""

    async def open_display(self, name: str) -> BytePipe:
        """A connection to its display server, at the server's greeting (RFB). Many may be open at once."""

    async def open_console(self, name: str) -> BytePipe:
        """Its first serial port. Whoever had it loses it."""
