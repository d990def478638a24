"""Pipe of bytes over a libvirt stream, without a thread that waits for them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterator

import libvirt

from innkeeper.errors import ErrorCode, HypervisorError

_CHUNK_BYTES = 64 * 1024
#: The reader is this far behind at most before libvirt is told to wait.
_MOST_UNREAD_BYTES = 256 * 1024
_WOULD_BLOCK = -2
_GONE = libvirt.VIR_STREAM_EVENT_ERROR | libvirt.VIR_STREAM_EVENT_HANGUP


class StreamPipe:
    """A port in the guest, through libvirt.

    The stream is touched under one lock, by the event thread and by the thread that writes; the loop
    only ever sees finished chunks and wake-ups.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        #: Does blocking work on the stream where its connection allows it.
        self.work: Callable[[Callable[[], None]], Awaitable[None]] = asyncio.to_thread
        self._lock = threading.Lock()
        self._stream: libvirt.virStream | None = None
        self._watched = 0
        self._unsent: deque[bytes] = deque()
        self._unread: deque[bytes] = deque()
        self._unread_bytes = 0
        self._gone = False
        self._readable = asyncio.Event()
        self._sent = asyncio.Event()

    def open(self, connect: libvirt.virConnect, machine: str, port: str) -> None:
        """Connect. A blocking call; whoever holds the port already loses it."""
        domain = connect.lookupByName(machine)
        self._take(connect, lambda stream: domain.openChannel(port, stream, libvirt.VIR_DOMAIN_CHANNEL_FORCE))

    def open_console(self, connect: libvirt.virConnect, machine: str) -> None:
        """Connect to its first serial port. A blocking call; whoever has the port loses it."""
        domain = connect.lookupByName(machine)
        self._take(connect, lambda stream: domain.openConsole(None, stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE))

    def _take(self, connect: libvirt.virConnect, join: Callable[[libvirt.virStream], object]) -> None:
        stream = connect.newStream(libvirt.VIR_STREAM_NONBLOCK)
        join(stream)
        with self._lock:
            self._stream = stream
            self._watched = libvirt.VIR_STREAM_EVENT_READABLE | _GONE
            stream.eventAddCallback(self._watched, self._happened, None)

    async def read(self) -> bytes:
        """At least one byte, or empty when the pipe is gone."""
        while not self._unread:
            if self._gone:
                return b""
            self._readable.clear()
            await self._readable.wait()
        chunk = self._unread.popleft()
        self._unread_bytes -= len(chunk)
        await self.work(self._watch_again)
        return chunk

    async def write(self, data: bytes) -> None:
        """Write all, waiting while the guest does not read."""
        if self._gone:
            raise HypervisorError("The agent's port is gone.", code=ErrorCode.ERROR_ONLY_IF_CONNECTED)
        self._sent.clear()
        await self.work(lambda: self._queue(data))
        await self._sent.wait()

    async def close(self) -> None:
        """Hang up."""
        await self.work(self._abort)

    # In threads, under the lock

    def _queue(self, data: bytes) -> None:
        with self._lock, self._lost_by_errors():
            self._unsent.extend(data[at : at + _CHUNK_BYTES] for at in range(0, len(data), _CHUNK_BYTES))
            self._send()

    def _watch_again(self) -> None:
        with self._lock, self._lost_by_errors():
            self._watch()

    @contextlib.contextmanager
    def _lost_by_errors(self) -> Iterator[None]:
        """Whatever libvirt says, the stream is gone: its wire was cut."""
        try:
            yield
        except libvirt.libvirtError:
            self._lose()

    def _abort(self) -> None:
        with self._lock:
            if self._stream is not None:
                with contextlib.suppress(libvirt.libvirtError):
                    self._stream.eventRemoveCallback()
                with contextlib.suppress(libvirt.libvirtError):
                    self._stream.abort()
            self._lose()

    def _happened(self, _stream: libvirt.virStream, events: int, _opaque: object) -> None:
        """libvirt's event thread says that something can be done."""
        with self._lock:
            if self._stream is None:
                return
            with self._lost_by_errors():
                if events & libvirt.VIR_STREAM_EVENT_READABLE:
                    self._receive()
                if events & libvirt.VIR_STREAM_EVENT_WRITABLE:
                    self._send()
                if events & _GONE:
                    self._lose()

    def _receive(self) -> None:
        assert self._stream is not None
        data = self._stream.recv(_CHUNK_BYTES)
        if data == _WOULD_BLOCK:
            return
        if not data:
            self._lose()
            return
        self._loop.call_soon_threadsafe(self._arrived, data)
        self._unread_bytes += len(data)
        self._watch()

    def _send(self) -> None:
        while self._unsent and self._stream is not None:
            sent = self._stream.send(self._unsent[0])
            if sent == _WOULD_BLOCK:
                break
            rest = self._unsent.popleft()[sent:]
            if rest:
                self._unsent.appendleft(rest)
        self._watch()
        if not self._unsent:
            self._loop.call_soon_threadsafe(self._sent.set)

    def _watch(self) -> None:
        """Ask for the events that can be served now: no more reading while the reader is behind."""
        wanted = _GONE
        if self._unread_bytes < _MOST_UNREAD_BYTES:
            wanted |= libvirt.VIR_STREAM_EVENT_READABLE
        if self._unsent:
            wanted |= libvirt.VIR_STREAM_EVENT_WRITABLE
        if self._stream is not None and wanted != self._watched:
            self._watched = wanted
            self._stream.eventUpdateCallback(wanted)

    def _lose(self) -> None:
        self._stream = None
        self._unsent.clear()
        with contextlib.suppress(RuntimeError):  # the loop may be gone before libvirt notices
            self._loop.call_soon_threadsafe(self._went)

    # In the loop

    def _arrived(self, data: bytes) -> None:
        self._unread.append(data)
        self._readable.set()

    def _went(self) -> None:
        self._gone = True
        self._readable.set()
        self._sent.set()
