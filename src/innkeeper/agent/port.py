"""Hold the guest's end of the port to the host, whatever happens at the other end."""

import errno
import glob
import os
import socket
import time
from typing import Callable, List, Optional

from innkeeper.agent.loop import Loop
from innkeeper.agent.places import read_text
from innkeeper.wire.frames import Bytes

_WRITE_BYTES = 64 * 1024
#: The guest's driver takes so much at a time.
_DRIVER_BYTES = 32 * 1024
#: The guest's driver hands out a page at a time; one call asks for many pages.
_PAGE_BYTES = 4096
_PAGES = 64
#: While a frame wants so many bytes more, it is given so long to arrive.
_NAP_BYTES = 16 * 1024
_NAP_S = 0.00025
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 1.0
#: errno values that say "there is no host just now".
_ABSENT = (errno.EAGAIN, errno.EPIPE, errno.ECONNRESET, errno.ENODEV, errno.EIO)

#: Gives the place for what is read next.
Room = Callable[[], memoryview]
#: Takes so many bytes that the host has sent and lie there; returns how many the frame in hand still wants.
Receive = Callable[[int], int]
TakeOutput = Callable[[int], bytes]


class Port:
    """A non-blocking file to the host; opens itself again after every loss.

    ``on_open`` is called when it has just been opened, ``on_data`` with what the host sent, and
    ``take`` gives what is to be sent.
    """

    def __init__(
        self, loop: Loop, on_open: Callable[[], None], room: Room, on_data: Receive, take: TakeOutput
    ) -> None:
        self._loop = loop
        self._on_open = on_open
        self._room = room
        self._on_data = on_data
        self._take = take
        self._fd = -1
        self._unsent: Bytes = b""
        self._paused = False
        #: Whether the loop waits for the port, and for room in it.
        self._is_watched = False
        self._is_writing = False
        #: Whether the last read was a full page, so that more is to be expected.
        self._is_flowing = False
        self._pause_s = _FIRST_PAUSE_S
        #: The room there was last, and its pages: nearly always it is the same.
        self._whole = memoryview(b"")
        self._one_page: List[memoryview] = []
        self._many_pages: List[memoryview] = []

    def _opened(self, fd: int) -> None:
        self._fd = fd
        self._unsent = b""
        self._paused = False
        os.set_blocking(fd, False)
        self._on_open()
        self.flush()

    def flush(self) -> None:
        """Send what can be sent, and watch for the rest."""
        if self._fd < 0 or self._paused:
            return
        data = self._unsent or self._take(_WRITE_BYTES)
        try:
            while data:
                sent = os.write(self._fd, data)
                data = memoryview(data)[sent:] if sent < len(data) else self._take(_WRITE_BYTES)
        except OSError as exc:
            if exc.errno not in _ABSENT:
                raise
        self._unsent = data
        if bool(data) is not self._is_writing or not self._is_watched:
            self._is_writing, self._is_watched = bool(data), True
            self._loop.watch(self._fd, self._ready, writing=self._is_writing)

    def write(self, frame: memoryview) -> int:
        """Write what goes at once, where nothing else waits; returns how much that was."""
        if self._unsent or self._paused or self._fd < 0:
            return 0
        try:
            if len(frame) <= _DRIVER_BYTES:
                return os.write(self._fd, frame)
            return os.writev(self._fd, (frame[:_DRIVER_BYTES], frame[_DRIVER_BYTES:]))
        except OSError as exc:
            if exc.errno not in _ABSENT:
                raise
            return 0

    def _ready(self) -> None:
        try:
            size = os.readv(self._fd, self._pages())
        except BlockingIOError:
            self.flush()
            return
        except OSError:
            size = 0
        if size:
            self._is_flowing = size >= _PAGE_BYTES
            self._pause_s = _FIRST_PAUSE_S
            wanted = self._on_data(size)
            if self._is_writing:
                self.flush()
            if wanted >= _NAP_BYTES:
                # Pages come one by one: waking up for each of them costs more than the bytes do.
                time.sleep(_NAP_S)
        else:
            self._lost()

    def _unwatch(self) -> None:
        self._loop.unwatch(self._fd)
        self._is_watched = False

    def _pages(self) -> List[memoryview]:
        room = self._room()
        if room is not self._whole:
            ends = range(0, min(len(room), _PAGES * _PAGE_BYTES), _PAGE_BYTES)
            self._whole, self._many_pages = room, [room[at : at + _PAGE_BYTES] for at in ends]
            self._one_page = self._many_pages[:1]
        return self._many_pages if self._is_flowing else self._one_page

    def _lost(self) -> None:
        raise NotImplementedError


class VirtioPort(Port):
    """A virtio-serial port, found by its name with or without udev.

    While no host has it open, it reads as ended: it is looked at again after a pause, never in a
    busy loop, and stays open, for closing it would lose what the host has written meanwhile.
    """

    def __init__(
        self,
        loop: Loop,
        name: str,
        on_open: Callable[[], None],
        room: Room,
        on_data: Receive,
        take: TakeOutput,
    ) -> None:
        super().__init__(loop, on_open, room, on_data, take)
        self._name = name
        self._loop.after(0, self._open)

    def _open(self) -> None:
        path = find_port(self._name)
        try:
            if path is None:
                raise FileNotFoundError(self._name)
            fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            self._loop.after(_LONGEST_PAUSE_S, self._open)
            return
        self._opened(fd)

    def _lost(self) -> None:
        self._unwatch()
        self._paused = True
        self._loop.after(self._pause_s, self._resume)
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)

    def _resume(self) -> None:
        self._paused = False
        self.flush()


class SocketPort(Port):
    """A Unix socket that stands for the port where there is no virtual machine; one host at a time."""

    def __init__(
        self,
        loop: Loop,
        path: str,
        on_open: Callable[[], None],
        room: Room,
        on_data: Receive,
        take: TakeOutput,
    ) -> None:
        super().__init__(loop, on_open, room, on_data, take)
        self._connection: Optional[socket.socket] = None
        if os.path.exists(path):
            os.unlink(path)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(1)
        self._listener.setblocking(False)
        self._listen()

    def _listen(self) -> None:
        self._loop.watch(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        self._connection, _ = self._listener.accept()
        self._loop.unwatch(self._listener.fileno())
        self._opened(self._connection.fileno())

    def _lost(self) -> None:
        self._unwatch()
        self._fd = -1
        if self._connection is not None:
            self._connection.close()
        self._listen()


def open_port(
    loop: Loop, address: str, on_open: Callable[[], None], room: Room, on_data: Receive, take: TakeOutput
) -> Port:
    """Open the port of this address: a virtio port's name, or ``unix:PATH``."""
    if address.startswith("unix:"):
        return SocketPort(loop, address[len("unix:") :], on_open, room, on_data, take)
    return VirtioPort(loop, address, on_open, room, on_data, take)


def find_port(name: str) -> Optional[str]:
    """Return the device of a virtio port, or ``None`` while there is none of this name."""
    path = os.path.join("/dev/virtio-ports", name)
    if os.path.exists(path):
        return path
    for entry in glob.glob("/sys/class/virtio-ports/*/name"):
        if read_text(entry) == name:
            return os.path.join("/dev", os.path.basename(os.path.dirname(entry)))
    return None
