"""Port for the screens and serial consoles of a host's machines."""

from __future__ import annotations

import dataclasses
from typing import Protocol

from innkeeper.wire.byte_pipe import BytePipe


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DisplayAddress:
    """Address of a machine's display server (VNC): a Unix socket, or a port of its host."""

    #: The socket's path on the host, or empty.
    socket: str = ""
    #: The address and the port, or empty and 0.
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        """The address as viewers take it: ``unix:PATH`` or ``HOST::PORT``."""
        return f"unix:{self.socket}" if self.socket else f"{self.host}::{self.port}"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Video:
    """A machine's video card and display server, by its definition."""

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
        """The machine's video card and display."""

    async def picture(self, name: str) -> bytes:
        """The present picture of the screen, as PNG."""

    async def open_display(self, name: str) -> BytePipe:
        """Connect to the display server, whose greeting comes first (RFB). Many may be open at once."""

    async def open_console(self, name: str) -> BytePipe:
        """A connection to the first serial port. An earlier one is closed."""
