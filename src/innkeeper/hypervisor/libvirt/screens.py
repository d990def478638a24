"""Show the screens and open the serial ports of libvirt's machines."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from typing import TypeVar

import libvirt

from innkeeper.errors import ErrorCode, HypervisorError, MachineError, NotSupported
from innkeeper.hypervisor.libvirt.connection import Connection
from innkeeper.hypervisor.libvirt.definition import Definition, GraphicsElement
from innkeeper.hypervisor.libvirt.domains import Domains, current
from innkeeper.hypervisor.libvirt.socket_pipe import SocketPipe
from innkeeper.hypervisor.libvirt.streams import StreamPipe
from innkeeper.hypervisor.libvirt.uris import HostUri
from innkeeper.machines.machine import MachineState
from innkeeper.machines.ports.screens import DisplayAddress, Video
from innkeeper.wire.byte_pipe import BytePipe

T = TypeVar("T")

_UP = frozenset({MachineState.RUNNING, MachineState.PAUSED, MachineState.SAVING, MachineState.TURNING_OFF})
#: No screen's picture is bigger: 4 bytes for each of 32 million pixels.
_MOST_PICTURE_BYTES = 128 * 1024 * 1024
_READ_BYTES = 64 * 1024
#: The serial ports that libvirt can open for others.
_OPENABLE = frozenset({"pty", "unix"})
_EVERYWHERE = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - read, never bound


class LibvirtScreens:
    """The screens and serial ports of one host's machines (``machines.ports.screens.Screens``)."""

    def __init__(self, uri: HostUri, connection: Connection, domains: Domains) -> None:
        self._uri = uri
        self._connection = connection
        self._domains = domains

    async def video(self, name: str) -> Video:
        """The machine's video card and display."""
        return await self._connection.ask(
            lambda connect: _video(current(connect.lookupByName(name))), "look at the display of", name
        )

    async def picture(self, name: str) -> bytes:
        """The present picture: PNG from QEMU 7.1 on, PPM before."""

        def work(connect: libvirt.virConnect) -> bytes:
            domain = connect.lookupByName(name)
            self._domains.require(domain, _UP, "show anything")
            if not self._uri.is_test and not current(domain).video_model():
                raise _no_screen(name)
            return _screenshot(connect, domain)

        return await self._connection.command(work, "take a picture of", name, final=False)

    async def open_display(self, name: str) -> BytePipe:
        """A connection to its VNC server: handed over by libvirt where it can, else over the network."""
        video = await self._on_running(name, _video, "open the display of")
        if not video.has_display:
            raise _no_screen(name)
        if self._uri.is_local:
            return await _pipe_of(
                await self._connection.command(_hand_over(name), "open the display of", name, final=False)
            )
        return await self._dial(name, video)

    async def open_console(self, name: str) -> BytePipe:
        """A connection to the first serial port. An earlier one is closed."""
        kind = await self._on_running(name, _serial_kind, "open the console of")
        if kind not in _OPENABLE:
            raise NotSupported(
                f"{name} has no serial port that can be opened"
                + (f": it goes to “{kind}”." if kind else "."),
                advice="Give it one in its definition: <serial type='pty'/>. Its screen: --vnc.",
            )
        pipe = StreamPipe(asyncio.get_running_loop())
        pipe.work = await self._connection.stream(
            lambda connect: pipe.open_console(connect, name), "open the console of", name
        )
        return pipe

    async def _dial(self, name: str, video: Video) -> BytePipe:
        """Another computer's libvirt hands nothing over: its display must listen for us."""
        address = video.address
        host = self._uri.host if address is not None and address.host in _EVERYWHERE else ""
        if address is None or not address.port or not (host or address.host):
            raise NotSupported(
                f"The display of {name} listens on its own host alone.",
                advice=(
                    "Let it listen on an address: <graphics type='vnc' "
                    "listen='ADDRESS'/>, or use Innkeeper there."
                ),
            )
        try:
            loop = asyncio.get_running_loop()
            _, pipe = await loop.create_connection(SocketPipe, host or address.host, address.port)
        except OSError as error:
            raise HypervisorError(
                f"The display of {name} at {address} cannot be reached: {error.strerror or error}.",
                code=ErrorCode.ERROR_ONLY_IF_CONNECTED,
            ) from error
        return pipe

    async def _on_running(self, name: str, look: Callable[[Definition], T], doing: str) -> T:
        def work(connect: libvirt.virConnect) -> T:
            domain = connect.lookupByName(name)
            self._domains.require(domain, _UP, doing.removesuffix(" of"))
            return look(current(domain))

        return await self._connection.ask(work, doing, name)


def _video(definition: Definition) -> Video:
    server = definition.display()
    return Video(
        model=definition.video_model(),
        has_display=server is not None,
        address=None if server is None else _address(server),
    )


def _address(server: GraphicsElement) -> DisplayAddress | None:
    if server.socket:
        return DisplayAddress(socket=server.socket)
    if server.port <= 0:
        return None
    return DisplayAddress(host=server.listen or "127.0.0.1", port=server.port)


def _serial_kind(definition: Definition) -> str:
    serial = definition.first_serial()
    return "" if serial is None else serial.type


def _screenshot(connect: libvirt.virConnect, domain: libvirt.virDomain) -> bytes:
    stream = connect.newStream(0)
    domain.screenshot(stream, 0, 0)
    parts: list[bytes] = []
    size = 0
    while data := stream.recv(_READ_BYTES):
        parts.append(data)
        size += len(data)
        if size > _MOST_PICTURE_BYTES:
            stream.abort()
            raise HypervisorError("The host's picture of the screen is incomplete.")
    stream.finish()
    return b"".join(parts)


def _hand_over(name: str) -> Callable[[libvirt.virConnect], int]:
    """Ask libvirt for a file that is joined to the display; no password is asked of whoever may do that."""

    def work(connect: libvirt.virConnect) -> int:
        domain = connect.lookupByName(name)
        return int(domain.openGraphicsFD(0, libvirt.VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH))

    return work


async def _pipe_of(file: int) -> BytePipe:
    with contextlib.ExitStack() as undo:
        undo.callback(os.close, file)
        joined = socket.socket(fileno=file)
        undo.pop_all()
    joined.setblocking(False)
    _, pipe = await asyncio.get_running_loop().create_connection(SocketPipe, sock=joined)
    return pipe


def _no_screen(name: str) -> MachineError:
    return MachineError(
        f"{name} has no display.",
        machine=name,
        code=ErrorCode.VM_E_NO_DISPLAY,
        advice="Give it one in its definition: <video/> for pictures, <graphics type='vnc'/> to watch it.",
    )
