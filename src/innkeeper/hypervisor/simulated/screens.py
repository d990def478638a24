"""Draw the screens of simulated machines, serve them by RFB, and simulate their serial consoles."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from PIL import Image, ImageDraw, ImageFont

from innkeeper.errors import ErrorCode, MachineError
from innkeeper.hypervisor.simulated import acts
from innkeeper.hypervisor.simulated import input_devices as devices
from innkeeper.hypervisor.simulated.machines import SimulatedMachine
from innkeeper.hypervisor.simulated.rfb import (
    ClientEvent,
    KeyEvent,
    Malformed,
    PointerEvent,
    RfbServer,
    SizeAsked,
    UpdateAsked,
)
from innkeeper.hypervisor.simulated.simulation import Simulation
from innkeeper.machines.ports.screens import DisplayAddress, Video
from innkeeper.wire.byte_pipe import BytePipe

T = TypeVar("T")

#: What a screen shows before the guest has set it up, and afterwards.
TEXT_SIZE = (720, 400)
GRAPHICS_SIZE = (1024, 768)
_BACKGROUND, _INK, _DIM = (16, 20, 28), (214, 219, 224), (122, 132, 144)
_MARGIN, _LINE = 16, 20
_POINTER = (0, 0), (0, 15), (4, 11), (10, 11)
#: How often a watched screen is looked at, in real seconds: eyes are real.
_LOOK_SECONDS = 0.2
_PIPE_CHUNKS = 64


class FakeScreens:
    """The screens and serial ports of all simulated machines (``machines.ports.screens.Screens``)."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    async def video(self, name: str) -> Video:
        """The machine's video card and display."""
        return await self._simulation.simulate(name, _video)

    async def picture(self, name: str) -> bytes:
        """The present picture, as PNG."""
        lines, size, pointer = await self._simulation.simulate(name, _look)
        return await asyncio.to_thread(lambda: _png(_draw(lines, size, pointer)))

    async def open_display(self, name: str) -> BytePipe:
        """A connection to its RFB server."""
        video = await self._simulation.simulate(name, _showing(_video))
        if not video.has_display:
            raise _no_screen(name)
        ours, theirs = pipe_pair()
        _keep(asyncio.create_task(_Viewer(self._simulation, name, ours).run(), name=f"display of {name}"))
        return theirs

    async def open_console(self, name: str) -> BytePipe:
        """The serial port, with a simulated login on it."""
        await self._simulation.simulate(name, _showing(_video))
        ours, theirs = pipe_pair()
        _keep(asyncio.create_task(_serve_console(self._simulation, name, ours), name=f"console of {name}"))
        return theirs


#: The loop keeps weak references alone.
_serving: set[asyncio.Task[None]] = set()


def _keep(task: asyncio.Task[None]) -> None:
    _serving.add(task)
    task.add_done_callback(_serving.discard)


class _Viewer:
    """One viewer's connection."""

    def __init__(self, simulation: Simulation, name: str, pipe: BytePipe) -> None:
        self._simulation = simulation
        self._name = name
        self._pipe = pipe
        self._shown: object = None
        self._wanted = asyncio.Event()
        self._whole = False
        self._protocol: RfbServer

    async def run(self) -> None:
        """Serve until the viewer hangs up, says nonsense, or the machine goes off."""
        _, size, _ = await self._simulation.simulate(self._name, _look)
        self._protocol = RfbServer(self._name, size)
        drawing = asyncio.create_task(self._draw_again_and_again())
        try:
            # The guest's machine may go off at any moment, and the viewer with it.
            with contextlib.suppress(MachineError, Malformed, ConnectionError):
                await self._pipe.write(self._protocol.take_output())
                while data := await self._pipe.read():
                    for event in self._protocol.receive(data):
                        await self._take(event)
                    await self._pipe.write(self._protocol.take_output())
        finally:
            drawing.cancel()
            await self._pipe.close()

    async def _take(self, event: ClientEvent) -> None:
        match event:
            case UpdateAsked(incremental):
                self._whole = self._whole or not incremental
                self._wanted.set()
            case KeyEvent(keysym, down):
                await self._simulation.simulate(self._name, lambda m, _: devices.keysym(m, keysym, down))
            case PointerEvent(x, y, _):
                await self._simulation.simulate(self._name, lambda m, _: devices.move_to(m, x, y))
            case SizeAsked(width, height):
                await self._simulation.simulate(self._name, lambda m, _: devices.resize(m, width, height))

    async def _draw_again_and_again(self) -> None:
        with contextlib.suppress(MachineError, Malformed, ConnectionError):
            while True:
                await self._wanted.wait()
                look = await self._simulation.simulate(self._name, _look)
                if look == self._shown and not self._whole:
                    await asyncio.sleep(_LOOK_SECONDS)
                    continue
                self._shown, self._whole = look, False
                self._wanted.clear()
                image = await asyncio.to_thread(_draw, *look)
                await asyncio.to_thread(self._protocol.show, image)
                await self._pipe.write(self._protocol.take_output())
        await self._pipe.close()


async def _serve_console(simulation: Simulation, name: str, pipe: BytePipe) -> None:
    """A line at a time: what is typed comes back, and the guest answers nothing more."""
    with contextlib.suppress(MachineError, ConnectionError):
        lines, _, _ = await simulation.simulate(name, _look)
        await pipe.write("\r\n".join(lines).encode())
        while data := await pipe.read():
            text = data.decode("ascii", "replace")
            await simulation.simulate(name, _showing(partial(devices.type_text, text=text)))
            prompt = f"\r\n{name} login: ".encode()
            await pipe.write(data.replace(b"\r", prompt).replace(b"\x7f", b"\b \b"))
    await pipe.close()


class _End:
    """One end of a pipe inside this process."""

    def __init__(self, incoming: asyncio.Queue[bytes], outgoing: asyncio.Queue[bytes]) -> None:
        self._incoming, self._outgoing = incoming, outgoing
        self._closed = False

    async def read(self) -> bytes:
        """At least one byte, or empty when the pipe is gone."""
        if self._closed:
            return b""
        data = await self._incoming.get()
        self._closed = self._closed or not data
        return data

    async def write(self, data: bytes) -> None:
        """Write all, waiting while the other end does not read."""
        if self._closed:
            raise ConnectionResetError("the other end has hung up")
        if data:
            await self._outgoing.put(data)

    async def close(self) -> None:
        """Hang up: both ends see it."""
        if not self._closed:
            self._closed = True
            for queue in (self._outgoing, self._incoming):
                if queue.full():
                    queue.get_nowait()
                queue.put_nowait(b"")


def pipe_pair() -> tuple[BytePipe, BytePipe]:
    """Two ends of one pipe."""
    one: asyncio.Queue[bytes] = asyncio.Queue(_PIPE_CHUNKS)
    other: asyncio.Queue[bytes] = asyncio.Queue(_PIPE_CHUNKS)
    return _End(one, other), _End(other, one)


Look = tuple[tuple[str, ...], tuple[int, int], tuple[int, int] | None]


def _showing(look: Callable[[SimulatedMachine], T]) -> Callable[[SimulatedMachine, float], T]:
    def act(machine: SimulatedMachine, now: float) -> T:
        acts.need(machine, "show anything", machine.is_on)
        return look(machine)

    return act


def _video(machine: SimulatedMachine, _now: float = 0) -> Video:
    address = DisplayAddress(socket=f"fake/{machine.name}.vnc") if machine.is_on else None
    return Video(model=machine.video, has_display=bool(machine.video), address=address)


def _look(machine: SimulatedMachine, now: float) -> Look:
    """The picture of the guest: its lines, its size, its pointer."""
    acts.need(machine, "show anything", machine.memory is not None)
    assert machine.memory is not None
    if not machine.video:
        raise _no_screen(machine.name)
    guest, memory = machine.guest(), machine.memory
    size = memory.size or (GRAPHICS_SIZE if memory.agent_up else TEXT_SIZE)
    lines = [f"{guest.disk.os_name}, kernel {guest.disk.kernel}", ""]
    if not memory.agent_up:
        return (*lines, "Starting up …"), size, None
    lines += [f"[FAILED] {unit}" for unit in memory.failed_units[:5]]
    lines += [f"[ update] {task.text}" for task in list(guest.disk.journal.values())[-3:]]
    if memory.reboot_required:
        lines += ["*** System restart required ***"]
    typed = f"{machine.name} login: {memory.typed}_".split("\n")
    return (*lines, "", *typed[-20:]), size, memory.pointer


def _draw(lines: tuple[str, ...], size: tuple[int, int], pointer: tuple[int, int] | None) -> Image.Image:
    image = Image.new("RGB", size, _BACKGROUND)
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(14)
    for number, line in enumerate(lines):
        ink = _DIM if number == 0 else _INK
        pen.text((_MARGIN, _MARGIN + number * _LINE), line[:200], fill=ink, font=font)
    if pointer is not None:
        pen.polygon([(pointer[0] + x, pointer[1] + y) for x, y in _POINTER], fill=_INK)
    return image


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def _no_screen(name: str) -> MachineError:
    return MachineError(
        f"{name} has no display.",
        machine=name,
        code=ErrorCode.VM_E_NO_DISPLAY,
        advice="Give it a video card in its definition: <video/>.",
    )
