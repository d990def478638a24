"""Serve a disk over a Unix socket: one thread listens, and one serves each connection."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

from innkeeper.disks.chain import Chain, Segment
from innkeeper.disks.file import ImageFile
from innkeeper.disks.nbd import protocol as nbd
from innkeeper.disks.oserror import adapted
from innkeeper.disks.short_socket_path import LONGEST_SOCKET_PATH
from innkeeper.errors import DiskError, ErrorCode

EXPORT_NAME = "disk"
#: More connections than any client opens.
MOST_CONNECTIONS = 64
#: From this length on the kernel sends a file's bytes by itself.
SENT_BY_KERNEL = 64 << 10
MOST_EXTENTS = 2048


class NbdServer:
    """Serve one disk until closed. The caller opens and closes the disk."""

    def __init__(self, chain: Chain, path: Path, *, writable: bool = False, name: str = EXPORT_NAME) -> None:
        can = nbd.WRITING if writable else nbd.READING | nbd.Can.READ_ONLY
        self.chain = chain
        self.export = nbd.Export(name, chain.size_bytes, can)
        self.path = path
        #: How many clients have come so far.
        self.served = 0
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = _listen(path)
        self._threads = [threading.Thread(target=self._accept, name="nbd-listener", daemon=True)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        """The address that QEMU and its tools take."""
        return address(self.path, self.export.name)

    @property
    def clients(self) -> int:
        """The number of connected clients."""
        with self._lock:
            return len(self._connections)

    def close(self) -> None:
        """End every connection and remove the socket."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self.path.unlink(missing_ok=True)

    def wait(self) -> None:
        """Return when the listener has ended."""
        self._threads[0].join()

    def __enter__(self) -> NbdServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if len(self._connections) >= MOST_CONNECTIONS:
                    connection.close()
                    continue
                self._connections.add(connection)
                self.served += 1
                self._threads = [self._threads[0], *(t for t in self._threads[1:] if t.is_alive())]
                thread = threading.Thread(target=self._serve, args=[connection], name="nbd", daemon=True)
                self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, contextlib.suppress(OSError, nbd.ProtocolError, EOFError):
                Connection(self.chain, self.export, connection).run()
        finally:
            with self._lock:
                self._connections.discard(connection)


class Connection:
    """One client, from the first byte to the last."""

    def __init__(self, chain: Chain, export: nbd.Export, connection: socket.socket) -> None:
        self._chain = chain
        self._export = export
        self._socket = connection
        self._structured = False
        self._wants_status = False

    def run(self) -> None:
        """Serve the client until it leaves; raises ``ProtocolError``, ``OSError`` or ``EOFError``."""
        rest = self._talk()
        if rest is None:
            return
        stream = io.BufferedReader(_Replayed(self._socket, rest), 64 << 10)
        while True:
            request = nbd.parse_request(_exactly(stream, nbd.REQUEST.size))
            if request.command == nbd.Command.DISCONNECT:
                return
            payload = memoryview(b"")
            if request.command == nbd.Command.WRITE:
                if request.length > nbd.LONGEST:
                    raise nbd.ProtocolError("the client wants to write too much at once")
                payload = memoryview(_exactly(stream, request.length))
            self._handle(request, payload)

    def _talk(self) -> bytes | None:
        talk = nbd.Handshake(self._export)
        self._socket.sendall(talk.greeting)
        while not talk.is_done and not talk.is_over:
            data = self._socket.recv(4096)
            if not data:
                return None
            self._socket.sendall(talk.feed(data))
        self._structured = talk.structured
        self._wants_status = talk.wants_status
        return talk.rest if talk.is_done else None

    def _handle(self, request: nbd.Request, payload: memoryview) -> None:
        error = nbd.refusal(request, self._export)
        if not error:
            try:
                _HANDLERS[nbd.Command(request.command)](self, request, payload)
            except DiskError as exc:
                error = nbd.error_number(exc)
        if error:
            refuse = nbd.error_chunk if self._structured else nbd.simple_reply
            self._socket.sendall(refuse(request.cookie, error))

    # Reading

    def _read(self, request: nbd.Request, payload: memoryview) -> None:
        if not self._structured:
            self._read_whole(request, nbd.simple_reply(request.cookie))
        elif request.flags & nbd.DONT_FRAGMENT or not request.length:
            head = nbd.data_chunk(request.cookie, request.offset, request.length, last=True)
            self._read_whole(request, head if request.length else nbd.done_chunk(request.cookie))
        else:
            self._read_chunks(request)

    def _read_whole(self, request: nbd.Request, head: bytes) -> None:
        buffer = memoryview(bytearray(request.length))
        self._chain.read_into(buffer, request.offset)
        _send(self._socket, head, buffer)

    def _read_chunks(self, request: nbd.Request) -> None:
        with self._chain.lock:
            segments = list(self._chain.segments(request.offset, request.length))
        for number, segment in enumerate(segments, 1):
            self._send_segment(request.cookie, segment, last=number == len(segments))

    def _send_segment(self, cookie: int, segment: Segment, *, last: bool) -> None:
        offset, length, image, place = segment
        if image is None:
            self._socket.sendall(nbd.hole_chunk(cookie, offset, length, last=last))
            return
        head = nbd.data_chunk(cookie, offset, length, last=last)
        if length >= SENT_BY_KERNEL:
            self._socket.sendall(head)
            _send_file(self._socket, image.file, place, length)
        else:
            data = image.file.pread(length, place)
            _send(self._socket, head, memoryview(data.ljust(length, b"\0")))

    def _cache(self, request: nbd.Request, payload: memoryview) -> None:
        with self._chain.lock:
            segments = list(self._chain.segments(request.offset, request.length))
        for _, length, image, place in segments:
            if image is not None:
                os.posix_fadvise(image.file.descriptor, place, length, os.POSIX_FADV_WILLNEED)
        self._done(request)

    def _block_status(self, request: nbd.Request, payload: memoryview) -> None:
        if not self._structured or not self._wants_status or not request.length:
            raise DiskError("The client asked for what it did not negotiate.", path="")
        most = 1 if request.flags & nbd.ONE_EXTENT else MOST_EXTENTS
        extents = []
        with self._chain.lock:
            for _, length, data in self._chain.extents(request.offset, request.length):
                extents.append((length, data))
                if len(extents) == most:
                    break
        self._socket.sendall(nbd.status_chunk(request.cookie, extents))

    # Writing

    def _write(self, request: nbd.Request, payload: memoryview) -> None:
        with self._chain.lock:
            self._chain.write(payload, request.offset)
        self._done(request)

    def _write_zeroes(self, request: nbd.Request, payload: memoryview) -> None:
        with self._chain.lock:
            self._chain.zero(request.offset, request.length)
        self._done(request)

    def _trim(self, request: nbd.Request, payload: memoryview) -> None:
        with self._chain.lock:
            self._chain.discard(request.offset, request.length)
        self._done(request)

    def _flush(self, request: nbd.Request, payload: memoryview) -> None:
        with self._chain.lock:
            self._chain.flush()
        self._socket.sendall(nbd.simple_reply(request.cookie))

    def _done(self, request: nbd.Request) -> None:
        if request.flags & nbd.FUA:
            with self._chain.lock:
                self._chain.flush()
        self._socket.sendall(nbd.simple_reply(request.cookie))


_HANDLERS: Mapping[nbd.Command, Callable[[Connection, nbd.Request, memoryview], None]] = {
    nbd.Command.READ: Connection._read,
    nbd.Command.WRITE: Connection._write,
    nbd.Command.FLUSH: Connection._flush,
    nbd.Command.TRIM: Connection._trim,
    nbd.Command.CACHE: Connection._cache,
    nbd.Command.WRITE_ZEROES: Connection._write_zeroes,
    nbd.Command.BLOCK_STATUS: Connection._block_status,
}


def address(socket_path: Path, name: str = EXPORT_NAME) -> str:
    """The address of an export."""
    return f"nbd+unix:///{quote(name, safe='')}?socket={quote(str(socket_path))}"


@contextlib.contextmanager
def exported(chain: Chain, *, writable: bool = False) -> Iterator[str]:
    """Export a disk to a program that runs meanwhile; yields the address."""
    with (
        tempfile.TemporaryDirectory(prefix="innkeeper-") as folder,
        NbdServer(chain, Path(folder) / "nbd", writable=writable) as server,
    ):
        yield server.url


class _Replayed(io.RawIOBase):
    """A socket that returns bytes read too early before it reads on."""

    def __init__(self, connection: socket.socket, first: bytes) -> None:
        self._socket = connection
        self._first = first

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # the stub wants its own buffer type
        if not self._first:
            return self._socket.recv_into(buffer)
        part, self._first = self._first[: len(buffer)], self._first[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)


def _listen(path: Path) -> socket.socket:
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
        raise DiskError(
            f"{path}: the path is too long for a socket.",
            path=str(path),
            code=ErrorCode.ERROR_BUFFER_OVERFLOW,
            advice=f"Choose one of at most {LONGEST_SOCKET_PATH} bytes.",
        )
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with adapted(path):
            # Bound under a mask that keeps others out from the first moment.
            mask = os.umask(0o177)
            try:
                listener.bind(str(path))
            finally:
                os.umask(mask)
            listener.listen(16)
    except BaseException:
        listener.close()
        raise
    return listener


def _exactly(stream: io.BufferedReader[_Replayed], length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise EOFError
    return data


def _send(connection: socket.socket, head: bytes, data: memoryview) -> None:
    """Send two buffers as one where the socket takes them."""
    sent = connection.sendmsg([head, data])
    if sent < len(head):
        connection.sendall(head[sent:])
        sent = len(head)
    if sent < len(head) + len(data):
        connection.sendall(data[sent - len(head) :])


def _send_file(connection: socket.socket, file: ImageFile, offset: int, length: int) -> None:
    """Send a range of a file; what lies past its end goes as zeros, as the length is promised."""
    while length:
        count = os.sendfile(connection.fileno(), file.descriptor, offset, length)
        if not count:
            connection.sendall(bytes(length))
            return
        offset, length = offset + count, length - count
