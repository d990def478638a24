"""Displays of machines: pictures, sizes, connections (``IVMDisplay``)."""

from __future__ import annotations

import asyncio
import enum

from innkeeper.errors import ErrorCode, InvalidArgument, MachineError, WrongState
from innkeeper.machines.machine import Machine, MachineState
from innkeeper.machines.ports.screens import Screens, Video
from innkeeper.machines.screen.picture import Picture, black_pixels, read_picture, scaled, thumbnail_pixels
from innkeeper.machines.screen.resize import ask_for_size
from innkeeper.machines.service import Machines
from innkeeper.tasks.ports import Clock
from innkeeper.wire.byte_pipe import BytePipe
from innkeeper.wire.states import VideoMode

#: What a display can be set to, in pixels; a width is cut to a multiple of 8.
MIN_WIDTH, MAX_WIDTH = 640, 2048
MIN_HEIGHT, MAX_HEIGHT = 480, 1920
_STEP = 8

#: The smallest and the largest edge of a picture that can be asked for.
MIN_PICTURE, MAX_PICTURE = 16, 4096

#: How long a guest may take to follow a new size, in seconds.
RESIZE_SECONDS = 10.0
_LOOK_SECONDS = 0.5

#: Sizes of text screens as QEMU shows them.
_TEXT_SIZES = frozenset({(720, 400), (640, 400), (720, 350), (640, 350)})
_SHOWING = frozenset({MachineState.RUNNING, MachineState.PAUSED})


class DisplayQuestion(enum.StrEnum):
    """Questions about a display, in the words of a refusal."""

    LOOK = "show anything"
    OPEN = "open a display"
    CONSOLE = "open a serial console"
    RESIZE = "change the size of its display"


class Display:
    """The displays of all machines. Every method raises ``MachineNotFound`` for a name that is none."""

    def __init__(self, machines: Machines, *, clock: Clock) -> None:
        self._machines = machines
        self._clock = clock

    async def picture(self, name: str, *, width: int | None = None, height: int | None = None) -> Picture:
        """The present picture, as PNG, within the bounds given (pixels; proportions are kept).

        Raises ``WrongState`` (``VM_E_VM_NOT_RUNNING``) where it is off, ``MachineError``
        (``VM_E_NO_DISPLAY``) where it has no screen, ``InvalidArgument`` for bounds out of reason.
        """
        for bound in (width, height):
            if bound is not None and not MIN_PICTURE <= bound <= MAX_PICTURE:
                raise InvalidArgument(
                    f"A picture cannot have {bound} pixels.",
                    advice=f"Ask for {MIN_PICTURE} to {MAX_PICTURE} pixels.",
                )
        screens, machine = await self._showing(name, DisplayQuestion.LOOK)
        picture = await asyncio.to_thread(read_picture, await screens.picture(machine.name))
        if width is None and height is None:
            return picture
        return await asyncio.to_thread(scaled, picture, width or MAX_PICTURE, height or MAX_PICTURE)

    async def thumbnail(self, name: str) -> tuple[int, ...]:
        """The documented thumbnail (``IVMDisplay::Thumbnail``): 3,072 numbers, 64 by 48, row by row.

        The upper 8 bits of each are blue, the next green, the next red. A machine that shows nothing is
        black: the documented property refuses none.
        """
        try:
            picture = await self.picture(name)
        except WrongState:
            return black_pixels()
        except MachineError as error:
            if error.code is not ErrorCode.VM_E_NO_DISPLAY:
                raise
            return black_pixels()
        return await asyncio.to_thread(thumbnail_pixels, picture)

    async def video(self, name: str) -> Video:
        """The machine's video card and display; also where it is off."""
        machine = await self._machines.get(name)
        return await self._machines.hosts[machine.host].screens.video(machine.name)

    async def open(self, name: str) -> BytePipe:
        """Connect to the display server; the stream begins with its greeting (RFB).

        The nearest there is to ``IVMVirtualMachine::RdpPipeName``. Raises ``WrongState`` where it is off,
        ``MachineError`` (``VM_E_NO_DISPLAY``) where no display server shows it.
        """
        screens, machine = await self._showing(name, DisplayQuestion.OPEN)
        return await screens.open_display(machine.name)

    async def open_console(self, name: str) -> BytePipe:
        """The first serial port, as bytes; an earlier connection to it is closed."""
        screens, machine = await self._showing(name, DisplayQuestion.CONSOLE)
        return await screens.open_console(machine.name)

    async def set_dimensions(self, name: str, width: int, height: int) -> tuple[int, int]:
        """Ask its guest for another size (``IVMDisplay::SetDimensions``); returns the size it took.

        ``width`` is 640 to 2048 pixels and is cut to a multiple of 8, ``height`` 480 to 1920. Raises
        ``InvalidArgument`` outside of that, ``WrongState`` where it does not run, ``MachineError`` with
        ``VM_E_ADDITIONS_FEATURE_NOT_AVAIL`` where its card or its guest cannot follow and with
        ``VM_E_TIMED_OUT`` where the guest did not.
        """
        wanted = _valid_size(width, height)
        screens, machine = await self._showing(
            name, DisplayQuestion.RESIZE, frozenset({MachineState.RUNNING})
        )
        video = await screens.video(machine.name)
        if not video.can_resize:
            raise _cannot_resize(machine.title, video)
        pipe = await screens.open_display(machine.name)
        try:
            await ask_for_size(pipe, *wanted)
            return await self._until_shown(machine, wanted)
        finally:
            await pipe.close()

    async def _until_shown(self, machine: Machine, wanted: tuple[int, int]) -> tuple[int, int]:
        give_up = self._clock.monotonic() + RESIZE_SECONDS
        while True:
            picture = await self.picture(machine.key)
            if (picture.width, picture.height) == wanted:
                return wanted
            if self._clock.monotonic() >= give_up:
                raise MachineError(
                    f"The guest of {machine.title} was asked for {wanted[0]} by {wanted[1]} pixels and still "
                    f"shows {picture.width} by {picture.height}.",
                    machine=machine.title,
                    code=ErrorCode.VM_E_TIMED_OUT,
                    advice="With the virtio graphics driver, a text console follows up to the size that it "
                    "began with; a desktop can go beyond it.",
                )
            await self._clock.sleep(_LOOK_SECONDS)

    async def _showing(
        self, name: str, question: DisplayQuestion, allowed: frozenset[MachineState] = _SHOWING
    ) -> tuple[Screens, Machine]:
        machine = await self._machines.get(name)
        if machine.state not in allowed:
            raise WrongState.of(
                machine.title,
                machine.state,
                str(question),
                advice=f"Start it: innkeeper machine start {machine.title}",
            )
        return self._machines.hosts[machine.host].screens, machine


def video_mode(width: int, height: int) -> VideoMode:
    """The mode that a screen of this size is taken to be in (``IVMDisplay::VideoMode``): QEMU names none."""
    if (width, height) in _TEXT_SIZES:
        return VideoMode.TEXT_MODE
    return VideoMode.VGA_MODE if (width, height) == (640, 480) else VideoMode.SVGA_MODE


def _valid_size(width: int, height: int) -> tuple[int, int]:
    if not MIN_WIDTH <= width <= MAX_WIDTH or not MIN_HEIGHT <= height <= MAX_HEIGHT:
        raise InvalidArgument(
            f"A display of {width} by {height} pixels is out of the documented bounds.",
            advice=f"{MIN_WIDTH} to {MAX_WIDTH} by {MIN_HEIGHT} to {MAX_HEIGHT}.",
        )
    return width - width % _STEP, height


def _cannot_resize(name: str, video: Video) -> MachineError:
    if not video.has_display:
        return MachineError(
            f"{name} has no display that its size could be asked through.",
            machine=name,
            code=ErrorCode.VM_E_NO_DISPLAY,
            advice="Give it one: <graphics type='vnc'/> in its definition.",
        )
    return MachineError(
        f"The video card of {name} ({video.model or 'none'}) cannot ask the guest for another size.",
        machine=name,
        code=ErrorCode.VM_E_ADDITIONS_FEATURE_NOT_AVAIL,
        advice="A virtio card can, with its driver in the guest: <video><model type='virtio'/></video>.",
    )
