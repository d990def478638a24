"""Join the host's streams to TCP servers of this guest, and to nothing outside of it."""

import collections
import errno
import os
import socket
import struct
from typing import Callable, Deque, Dict, List, Optional

from innkeeper.agent.allowed_ports import AllowedPorts
from innkeeper.agent.loop import Loop, Timer
from innkeeper.wire.frames import HEADER_BYTES, Bytes
from innkeeper.wire.session import BUSY_OUTPUT_BYTES, Event, GuestSession
from innkeeper.wire.streams import (
    CREDIT_BYTES,
    DATA_BYTES,
    LEAST_CREDIT_BYTES,
    WINDOW_BYTES,
    OpenAsked,
    StreamData,
    StreamEof,
    StreamReset,
    StreamWritable,
)

#: Servers are looked for here alone.
_HERE = "127.0.0.1"
#: A server whose queue is full may take so long to answer, in seconds.
_CONNECT_S = 10.0
#: What is read from any server lies here, behind the place for a frame's header, until it is sent.
_FRAME = memoryview(bytearray(HEADER_BYTES + DATA_BYTES))
_PAYLOAD = _FRAME[HEADER_BYTES:]
#: So many frames are read from a server before the others have their turn.
_FRAMES_A_TURN = 2
#: A server that is sent no more than this has often answered before the call returns.
_WORD_BYTES = 4096
#: Closes a socket so that its server sees a broken connection, not an end.
_BREAK = struct.pack("ii", 1, 0)


class Channels:
    """All streams of the session there is. Their number is bounded by the session, their bytes by credit."""

    def __init__(self, loop: Loop, session: GuestSession, allowed: AllowedPorts) -> None:
        self._loop = loop
        self._session = session
        self._allowed = allowed
        self._joins: Dict[int, "_Join"] = {}
        #: Those that may not read from their servers while too much is unsent to the host.
        self._waiting: Deque["_Join"] = collections.deque()
        #: Those that were sent something since it was last passed on.
        self._arrived: List["_Join"] = []
        #: Send what there is; set by whoever has the port, as the next.
        self.flush: Callable[[], None] = _nothing
        #: Send this frame, which may be overwritten afterwards.
        self.post: Callable[[memoryview], None] = _forget

    def receive(self, event: StreamData) -> None:
        """Take what the host sent; ``pass_on`` follows."""
        number, data = event
        join = self._joins.get(number)
        if join is not None:
            if not join.arrived:
                self._arrived.append(join)
            join.arrived.append(data)

    def pass_on(self) -> None:
        """Pass on what was received, all of a stream at once: each call wakes a server up."""
        while self._arrived:
            self._arrived.pop().send()

    def take(self, event: Event) -> None:
        """Take any other event of a stream."""
        if isinstance(event, OpenAsked):
            self._open(event.stream, event.port)
        elif isinstance(event, StreamWritable):
            if event.stream in self._joins:
                self._joins[event.stream].watch()
        elif isinstance(event, StreamEof):
            if event.stream in self._joins:
                self._joins[event.stream].finish()
        elif isinstance(event, StreamReset) and event.stream in self._joins:
            self._joins[event.stream].drop(broken=True)

    def drop_all(self) -> None:
        """Break every connection: their session is lost."""
        for join in list(self._joins.values()):
            join.drop(broken=True)

    def resume(self) -> None:
        """Read from servers again where the host has taken what was unsent."""
        while self._waiting and not self._session.is_busy:
            self._waiting.popleft().watch()

    def _open(self, number: int, port: int) -> None:
        if port not in self._allowed:
            self._session.streams.reset(number)
            return
        try:
            self._joins[number] = _Join(self, number, port)
        except OSError:
            self._session.streams.reset(number)

    # For the joins

    @property
    def loop(self) -> Loop:
        """What waits for their sockets."""
        return self._loop

    @property
    def session(self) -> GuestSession:
        """What their streams go over."""
        return self._session

    def wait(self, join: "_Join") -> None:
        """Resume reading once the host has taken the unsent bytes."""
        self._waiting.append(join)

    def forget(self, number: int) -> None:
        """Forget a join that has ended."""
        self._joins.pop(number, None)


def _nothing() -> None:
    return None


def _forget(frame: memoryview) -> None:
    return None


class _Join:
    """One stream and its connection to a server."""

    __slots__ = (
        "_all",
        "_connecting",
        "_eof_read",
        "_eof_wanted",
        "_fd",
        "_number",
        "_passed_on",
        "_pending",
        "_socket",
        "_timer",
        "arrived",
    )

    def __init__(self, channels: Channels, number: int, port: int) -> None:
        self._all = channels
        self._number = number
        #: What has just come from the host, where the port has put it.
        self.arrived: List[Bytes] = []
        #: What the server has not taken yet; the stream's credit bounds it.
        self._pending: Deque[Bytes] = collections.deque()
        #: What the server has taken since the host was last told.
        self._passed_on = 0
        self._connecting = True
        self._timer: Optional[Timer] = None
        #: The host sends no more; the server is told when it has taken all.
        self._eof_wanted = False
        #: The server sends no more.
        self._eof_read = False
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._fd = self._socket.fileno()
        try:
            self._connect(port)
        except OSError:
            self._socket.close()
            raise

    def _connect(self, port: int) -> None:
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, WINDOW_BYTES)
        error = self._socket.connect_ex((_HERE, port))
        if error == 0:
            self._connected()
        elif error == errno.EINPROGRESS:
            self._all.loop.watch(self._fd, self._ready, writing=True)
            self._timer = self._all.loop.after(_CONNECT_S, self._give_up)
        else:
            raise OSError(error, os.strerror(error))

    def _connected(self) -> None:
        self._connecting = False
        self._forget_timer()
        self._all.session.streams.accept(self._number)
        self.watch()
        if self._eof_wanted:
            self._shut_down()

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        if self._connecting and self._fd >= 0:
            self._reset()
            self._all.flush()

    # From the host

    def send(self) -> None:
        """Pass on what has arrived, now or when the server takes it."""
        arrived, self.arrived = self.arrived, []
        if self._fd < 0:
            return
        if self._pending:
            self._pending.extend(map(bytes, arrived))
            return
        size = len(arrived[0]) if len(arrived) == 1 else sum(map(len, arrived))
        try:
            sent = self._socket.send(arrived[0]) if len(arrived) == 1 else self._socket.sendmsg(arrived)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._reset()
            return
        self._passed_on += sent
        if self._passed_on >= CREDIT_BYTES:
            self._give_credit()
        if sent < size:
            self._pending.append(b"".join(arrived)[sent:])
            self.watch()
        elif size <= _WORD_BYTES and not self._eof_read:
            self._receive()

    def finish(self) -> None:
        """The host sends no more."""
        self._eof_wanted = True
        if not self._pending and not self._connecting:
            self._shut_down()

    def _give_credit(self) -> None:
        self._all.session.streams.consumed(self._number, self._passed_on)
        self._passed_on = 0

    # From the server

    def _ready(self) -> None:
        session = self._all.session
        if self._connecting:
            if self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._reset()
            else:
                self._connected()
        else:
            if self._pending:
                self._send_pending()
            if self._fd >= 0 and not self._eof_read:
                self._receive()
        if session.output_size:
            self._all.flush()

    def _receive(self) -> None:
        session, size, wanted = self._all.session, 0, 0
        # What fills its place is seldom the last. But for more than this there may be new credit at the port.
        for _ in range(_FRAMES_A_TURN):
            if size < wanted:
                return
            room = session.streams.may_send(self._number)
            if room < LEAST_CREDIT_BYTES or session.output_size > BUSY_OUTPUT_BYTES:
                self.watch()
                return
            wanted = min(room, DATA_BYTES)
            try:
                size = self._socket.recv_into(_PAYLOAD, wanted)
            except BlockingIOError:
                return
            except OSError:
                self._reset()
                return
            if not size:
                self._end_reading()
                return
            frame = _FRAME[: HEADER_BYTES + size]
            session.streams.seal(self._number, frame)
            self._all.post(frame)

    def _end_reading(self) -> None:
        self._eof_read = True
        self._all.session.streams.finish(self._number)
        self.watch()
        self._end_if_done()

    def _send_pending(self) -> None:
        consumed = 0
        try:
            while self._pending:
                sent = self._socket.send(self._pending[0])
                consumed += sent
                if sent < len(self._pending[0]):
                    self._pending[0] = memoryview(self._pending[0])[sent:]
                    break
                self._pending.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self._reset()
            return
        self._passed_on += consumed
        if self._passed_on >= CREDIT_BYTES:
            self._give_credit()
        if not self._pending:
            self.watch()
            if self._eof_wanted:
                self._shut_down()

    # Machinery

    def watch(self) -> None:
        """Wait for what can be done now: no reading without credit, no writing of nothing."""
        if self._fd < 0 or self._connecting:
            return
        session = self._all.session
        reading = not self._eof_read and session.streams.may_send(self._number) >= LEAST_CREDIT_BYTES
        if reading and session.is_busy:
            reading = False
            self._all.wait(self)
        if reading or self._pending:
            self._all.loop.watch(self._fd, self._ready, reading=reading, writing=bool(self._pending))
        else:
            # A broken connection is ready for ever, whatever is waited for.
            self._all.loop.unwatch(self._fd)

    def _shut_down(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # The server has gone already; reading will say so.
        self._end_if_done()

    def _end_if_done(self) -> None:
        if self._eof_read and self._eof_wanted and not self._pending:
            self.drop(broken=False)

    def _reset(self) -> None:
        self._all.session.streams.reset(self._number)
        self.drop(broken=True)

    def drop(self, broken: bool) -> None:
        """Close the connection; the server sees its end, or that it broke."""
        if self._fd < 0:
            return
        self._forget_timer()
        self._all.loop.unwatch(self._fd)
        self._all.forget(self._number)
        self._fd = -1
        self._pending.clear()
        if broken:
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _BREAK)
            except OSError:
                pass
        self._socket.close()
