"""Lanes to one libvirt daemon: each a thread that has a connection of its own.

Until libvirt 10.4, several threads that wait on one connection can crash the process when the wire is cut
(CVE-2024-4418). And a daemon works on few requests of one connection at a time (``max_client_requests``, 5):
what hangs behind a QEMU that does not answer must not stand in the way of a look at another machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Final, TypeVar, cast

import libvirt

from innkeeper.errors import ErrorCode, HypervisorError
from innkeeper.hypervisor.libvirt.faults import translated

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Keepalive:
    """When a silent daemon is given up: after ``interval_seconds`` × (``tries`` + 1) without an answer."""

    interval_seconds: int
    tries: int


KEEPALIVE = Keepalive(interval_seconds=5, tries=3)

#: A call that takes longer may hang behind a QEMU that does not answer: it keeps its lane, and its turn goes
#: to another.
_LASTS_SECONDS = 10.0

#: libvirt itself waits for ever for a daemon that accepts and says nothing.
_OPEN_TIMEOUT_S = 10.0


_CLOSED: Final = {
    libvirt.VIR_CONNECT_CLOSE_REASON_ERROR: "the connection to libvirt's daemon broke",
    libvirt.VIR_CONNECT_CLOSE_REASON_EOF: "libvirt's daemon closed the connection",
    libvirt.VIR_CONNECT_CLOSE_REASON_KEEPALIVE: "libvirt's daemon did not answer in time",
    libvirt.VIR_CONNECT_CLOSE_REASON_CLIENT: "Innkeeper closed the connection to libvirt's daemon",
}


def why_closed(reason: int) -> str:
    """Return why a connection is lost (``virConnectCloseReason``), in words."""
    return _CLOSED.get(reason, f"the connection to libvirt's daemon is lost (reason {reason})")


class Worker:
    """A thread that does one thing after another, and that never holds up the end of the process."""

    def __init__(self, name: str) -> None:
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._ended = False
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def submit(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """The result of a call, once its turn has come. Cancelling the future does not stop the call.

        Raises where the worker was told to end.
        """
        if self._ended:
            raise _given_up()
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()

        def do() -> None:
            value: T | None = None
            failed: BaseException | None = None
            try:
                value = call()
            except BaseException as error:
                failed = error
            with contextlib.suppress(RuntimeError):  # the loop may have ended meanwhile
                loop.call_soon_threadsafe(_settle, result, value, failed)

        self._queue.put(do)
        return result

    def end(self) -> None:
        """End the thread when it has done what was submitted."""
        self._ended = True
        self._queue.put(None)

    def _work(self) -> None:
        while (call := self._queue.get()) is not None:
            call()


class Lane:
    """One thread and one connection, opened, used and closed there."""

    def __init__(self, uri: str, name: str, *, on_closed: Callable[[str], None] | None = None) -> None:
        """``on_closed`` is told in libvirt's event thread why the connection is lost."""
        self._uri = uri
        self._on_closed = on_closed
        self._worker = Worker(name)
        self._connect: libvirt.virConnect | None = None
        self._opening: asyncio.Future[libvirt.virConnect] | None = None
        #: The callbacks for events that were registered on the connection; only in the lane's thread.
        self.callbacks: Sequence[int] = ()

    async def open(self) -> libvirt.virConnect:
        """The connection, opened where there is none. Raises where the daemon does not answer in time."""
        # No second one is tried while the first hangs: it may come to its end yet.
        opening = self._opening = self._opening or self._worker.submit(self._open)
        await asyncio.wait({opening}, timeout=_OPEN_TIMEOUT_S)
        if not opening.done():
            raise silent(self._uri)
        if opening.exception() is not None and self._opening is opening:
            self._opening = None
        return opening.result()

    async def run(self, call: Callable[[libvirt.virConnect], T]) -> T:
        """Make a call in the lane's thread. Cancelling the awaiting task does not stop it."""
        connect = await self.open()
        try:
            return await self._worker.submit(lambda: call(connect))
        except HypervisorError as error:
            # libvirt has many words for a wire that was cut in the middle of a call.
            if await self._worker.submit(lambda: is_alive(connect)):
                raise
            self.drop()
            raise HypervisorError(
                error.sentence, code=ErrorCode.ERROR_ONLY_IF_CONNECTED, advice=error.advice
            ) from error

    async def submit(self, call: Callable[[], T]) -> T:
        """Do something in the lane's thread that needs no connection: what it has opened is used there."""
        return await self._worker.submit(call)

    def drop(self) -> asyncio.Future[None]:
        """Give the connection up once the thread comes back from where it is; the next call opens another."""
        self._opening = None
        return _ignored(self._worker.submit(self._close))

    def end(self) -> asyncio.Future[None]:
        """Close the connection and end the thread, once it comes back from where it is."""
        closed = self.drop()
        self._worker.end()
        return closed

    def _open(self) -> libvirt.virConnect:
        with translated(f"connect to {self._uri}"):
            connect = libvirt.open(self._uri)
        with contextlib.suppress(libvirt.libvirtError):
            connect.setKeepAlive(KEEPALIVE.interval_seconds, KEEPALIVE.tries)
        if self._on_closed is not None:
            closed = self._on_closed
            connect.registerCloseCallback(lambda _lost, reason, _opaque: closed(why_closed(reason)), None)
        self._connect = connect
        return connect

    def _close(self) -> None:
        connect, self._connect = self._connect, None
        if connect is not None:
            close(connect, self.callbacks)


class Lanes:
    """Lanes of one kind: opened as they are needed, and lent to one call at a time."""

    def __init__(self, uri: str, kind: str, most: int, *, most_lasting: int = 0) -> None:
        """``most`` calls are made at once, and ``most_lasting`` more while so many others last for long."""
        self._uri = uri
        self._kind = kind
        self._most = most
        self._most_lasting = most_lasting
        self._all: list[Lane] = []
        self._free: list[Lane] = []
        self._turns = asyncio.Semaphore(most)
        #: The calls whose turns went to others.
        self._lasting: set[asyncio.Future[object]] = set()
        #: Those that last, too, and have kept their turns while so many others lasted: the oldest first.
        self._overdue: dict[asyncio.Future[object], None] = {}
        self._opened = 0
        self._ended = False

    async def run(self, call: Callable[[libvirt.virConnect], T]) -> T:
        """Make a call in a lane that is free, which stays taken until the call has ended, awaited or not."""
        await self._turns.acquire()
        lane = self._lend()
        going = asyncio.ensure_future(lane.run(call))
        lasts = asyncio.get_running_loop().call_later(_LASTS_SECONDS, self._let_by, going)
        going.add_done_callback(lambda ended: self._give_back(lane, ended, lasts))
        _ignored(going)
        return await asyncio.shield(going)

    def end(self) -> None:
        """Close every lane; who still waits for one is told that the host is lost."""
        self._ended = True
        for lane in self._all:
            lane.end()
        self._all, self._free = [], []

    def _lend(self) -> Lane:
        if self._ended:
            self._turns.release()
            raise _given_up()
        if self._free:
            return self._free.pop()
        lane = Lane(self._uri, f"libvirt-{self._kind}-{self._opened}")
        self._opened += 1
        self._all.append(lane)
        return lane

    def _let_by(self, going: asyncio.Future[T]) -> None:
        """Give a lasting call's turn to another: once fewer others last, where too many do."""
        self._overdue[cast("asyncio.Future[object]", going)] = None
        self._let_overdue_by()

    def _let_overdue_by(self) -> None:
        while self._overdue and len(self._lasting) < self._most_lasting:
            oldest = next(iter(self._overdue))
            del self._overdue[oldest]
            self._lasting.add(oldest)
            self._turns.release()

    def _give_back(self, lane: Lane, ended: asyncio.Future[T], lasts: asyncio.TimerHandle) -> None:
        lasts.cancel()
        if len(self._all) > self._most and lane in self._all:
            self._all.remove(lane)
            lane.end()
        elif lane in self._all:
            self._free.append(lane)
        call = cast("asyncio.Future[object]", ended)
        if call in self._lasting:
            self._lasting.remove(call)
            self._let_overdue_by()
        else:
            self._overdue.pop(call, None)
            self._turns.release()


def _ignored(result: asyncio.Future[T]) -> asyncio.Future[T]:
    """A result of whose error nobody may be left to be told."""
    result.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    return result


def _settle(result: asyncio.Future[T], value: T | None, error: BaseException | None) -> None:
    if result.done():
        return
    if error is not None:
        result.set_exception(error)
    else:
        result.set_result(value)  # type: ignore[arg-type]  # a value of T where there is no error


def close(connect: libvirt.virConnect, callbacks: Sequence[int]) -> None:
    """Close a connection and its callbacks: one left keeps it, and an embedded root's lock, alive."""
    for callback in callbacks:
        with contextlib.suppress(libvirt.libvirtError):
            connect.domainEventDeregisterAny(callback)
    with contextlib.suppress(libvirt.libvirtError):
        connect.unregisterCloseCallback()
    with contextlib.suppress(libvirt.libvirtError):
        connect.close()


def _given_up() -> HypervisorError:
    return HypervisorError(
        "The connection to the host was lost.",
        code=ErrorCode.ERROR_ONLY_IF_CONNECTED,
        advice="Innkeeper connects again by itself as soon as the host answers.",
    )


def silent(uri: str) -> HypervisorError:
    """The error of a host that accepts and does not answer."""
    return HypervisorError(
        f"The host at {uri} does not answer.",
        code=ErrorCode.ERROR_ONLY_IF_CONNECTED,
        advice="See what libvirt is doing there; Innkeeper goes on by itself as soon as it answers.",
    )


def says_lost(error: HypervisorError) -> bool:
    """Whether the error may come from a broken wire, which libvirt reports as an internal error, too."""
    words = str(error)
    return error.code is ErrorCode.ERROR_ONLY_IF_CONNECTED or any(
        each in words for each in ("client socket is closed", "connection closed")
    )


def is_alive(connect: libvirt.virConnect) -> bool:
    """Whether the wire is whole."""
    try:
        return bool(connect.isAlive())
    except libvirt.libvirtError:
        return False
