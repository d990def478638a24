"""Look at what a machine shows (``IVMDisplay``), and open the wires to it."""

from __future__ import annotations

from innkeeper.client.calls import get, machine_path
from innkeeper.client.calls.machine_parts import set_size
from innkeeper.client.transport import Transport
from innkeeper.client.wires import Wire, open_wire
from innkeeper.errors import ErrorCode, MachineError, WrongState
from innkeeper.wire.display import DisplayMessage, SizeRequest, ThumbnailMessage
from innkeeper.wire.states import MachineState, VideoMode


class Display:
    """One machine's display."""

    def __init__(self, transport: Transport, name: str) -> None:
        self._transport = transport
        self._name = name

    def read(self) -> DisplayMessage:
        """The display's size, mode and address; also of a machine that is off."""
        return self._transport.send(get(machine_path(self._name, "display"), DisplayMessage))

    @property
    def width(self) -> int:
        """In pixels (``Width``). Raises ``WrongState`` where it is off, ``VM_E_NO_DISPLAY`` without one."""
        return self._shown()[0]

    @property
    def height(self) -> int:
        """In pixels (``Height``)."""
        return self._shown()[1]

    @property
    def video_mode(self) -> VideoMode:
        """Text, VGA or SVGA (``VideoMode``), taken from the size: QEMU names none."""
        return self._shown()[2]

    @property
    def can_resize(self) -> bool:
        """Whether its guest can be asked for another size (``CanResize``)."""
        self._shown()
        return self.read().can_resize

    @property
    def address(self) -> str:
        """Address of the display server (VNC) on its host; empty while the machine is off.

        The nearest there is to ``IVMVirtualMachine::RdpPipeName``.
        """
        return self.read().address

    @property
    def thumbnail(self) -> tuple[int, ...]:
        """64 by 48 numbers, row by row (``Thumbnail``): the upper 8 bits blue, then green, then red."""
        return self._transport.send(get(machine_path(self._name, "thumbnail"), ThumbnailMessage)).pixels

    def screenshot(self, width: int | None = None, height: int | None = None) -> bytes:
        """Return a screenshot as PNG; within these bounds where given (16 to 4,096 pixels)."""
        return self._transport.fetch(
            machine_path(self._name, "screenshot"), {"width": width, "height": height}
        )

    def set_dimensions(self, width: int, height: int) -> tuple[int, int]:
        """Ask its guest for another size (``SetDimensions``); returns the one it took.

        640 to 2,048 by 480 to 1,920 pixels; the width is cut to a multiple of 8. Raises ``InvalidArgument``
        beyond, ``MachineError`` where the guest cannot follow or did not in time.
        """
        request = SizeRequest(width=width, height=height)
        size = self._transport.send(set_size(self._name, request))
        return size.width, size.height

    def open(self) -> Wire:
        """Open the display server's own byte stream (RFB)."""
        return open_wire(self._transport, machine_path(self._name, "vnc"))

    def open_console(self) -> Wire:
        """Open the first serial port's byte stream; a former console is disconnected."""
        return open_wire(self._transport, machine_path(self._name, "console"))

    def _shown(self) -> tuple[int, int, VideoMode]:
        message = self.read()
        if message.width is not None and message.height is not None and message.video_mode is not None:
            return message.width, message.height, message.video_mode
        if message.video_model:
            raise WrongState.of(
                self._name,
                MachineState.TURNED_OFF,
                "show anything",
                advice=f"Start it: innkeeper machine start {self._name}",
            )
        raise MachineError(
            f"{self._name} has no display.", machine=self._name, code=ErrorCode.VM_E_NO_DISPLAY
        )
