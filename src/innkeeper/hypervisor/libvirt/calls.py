"""Ways of blocking calls to libvirt: threads that share a driver of this process, or lanes to a daemon."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

import libvirt

from innkeeper.errors import ErrorCode, HypervisorError
from innkeeper.hypervisor.libvirt.faults import translated
from innkeeper.hypervisor.libvirt.lanes import Lane, Lanes, close, is_alive, says_lost

T = TypeVar("T")

#: A look at the host takes milliseconds; few threads serve many.
_QUESTION_THREADS = 4
#: A start, save or turn-off holds its thread for seconds: these never stand in a question's way.
_COMMAND_THREADS = 16
#: A daemon has 20 workers for all its clients (``max_workers``): no more than eight are ours, with the one
#: for streams, but for commands that last: each stopped QEMU may hold one for ever.
_QUESTION_LANES, _COMMAND_LANES, _STATISTICS_LANES, _LASTING_COMMANDS = 2, 4, 1, 8
#: How long the end of the service waits for a connection to close.
_CLOSE_TIMEOUT_S = 2.0


class Pool(enum.Enum):
    """Which threads a call may hold."""

    #: Answered in milliseconds, whatever the machines do.
    QUESTION = enum.auto()
    #: May take as long as it likes.
    COMMAND = enum.auto()
    #: Asks every QEMU; hangs with the first that does not answer.
    STATISTICS = enum.auto()
    #: Opens streams, and does what is done with them.
    STREAMS = enum.auto()


class Calls(Protocol):
    """The calls to one host over one set of connections, until they are lost."""

    async def open(self, meet: Callable[[libvirt.virConnect], None]) -> None:
        """Connect, and let ``meet`` see who answers. Raises where the host does not answer."""

    async def subscribe(self, on_open: Callable[[libvirt.virConnect], Sequence[int]]) -> None:
        """Subscribe by ``on_open`` to events."""

    async def run(self, pool: Pool, call: Callable[[libvirt.virConnect], T]) -> T:
        """Make a call in a thread of this pool. Cancelling the awaiting task does not stop it."""

    async def on_streams(self, work: Callable[[], None]) -> None:
        """Do something with a stream, in a thread."""

    async def close(self) -> None:
        """Disconnect; what still hangs in a call disconnects when it comes back."""


class SharedCalls:
    """Calls to a driver in this process: one connection that all threads share, for there is no wire."""

    def __init__(self, uri: str, *, on_closed: Callable[[str], None]) -> None:
        self._uri = uri
        self._on_closed = on_closed
        self._connect: libvirt.virConnect | None = None
        self._callbacks: Sequence[int] = ()
        questions = ThreadPoolExecutor(_QUESTION_THREADS, "libvirt-question")
        commands = ThreadPoolExecutor(_COMMAND_THREADS, "libvirt-command")
        self._pools = {
            Pool.QUESTION: questions,
            Pool.COMMAND: commands,
            Pool.STATISTICS: questions,
            Pool.STREAMS: commands,
        }

    async def open(self, meet: Callable[[libvirt.virConnect], None]) -> None:
        """Connect, and let ``meet`` see who answers."""

        def work() -> libvirt.virConnect:
            with translated(f"connect to {self._uri}"):
                connect = libvirt.open(self._uri)
                meet(connect)
            return connect

        self._connect = await self._in_pool(Pool.COMMAND, work)

    async def subscribe(self, on_open: Callable[[libvirt.virConnect], Sequence[int]]) -> None:
        """Subscribe by ``on_open`` to events."""

        def work() -> None:
            assert self._connect is not None
            with translated(f"watch {self._uri}"):
                self._callbacks = on_open(self._connect)

        await self._in_pool(Pool.COMMAND, work)

    async def run(self, pool: Pool, call: Callable[[libvirt.virConnect], T]) -> T:
        """Make a call in a thread of this pool."""
        connect = self._connect
        assert connect is not None
        try:
            return await self._in_pool(pool, lambda: call(connect))
        except HypervisorError as error:
            if says_lost(error) and not await self._in_pool(Pool.QUESTION, lambda: is_alive(connect)):
                self._on_closed("no answer")
            raise

    async def on_streams(self, work: Callable[[], None]) -> None:
        """Do something with a stream, in a thread."""
        await asyncio.to_thread(work)

    async def close(self) -> None:
        """Disconnect."""
        connect, self._connect = self._connect, None
        if connect is not None:
            await self._in_pool(Pool.COMMAND, lambda: close(connect, self._callbacks))
        for pool in self._pools.values():
            pool.shutdown(wait=False)

    async def _in_pool(self, pool: Pool, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pools[pool], work)


class LaneCalls:
    """Calls to a daemon: each thread has a connection of its own (see ``lanes``)."""

    def __init__(self, uri: str, *, on_closed: Callable[[str], None]) -> None:
        self._events = Lane(uri, "libvirt-watch", on_closed=on_closed)
        self._streams = Lane(uri, "libvirt-streams")
        self._lanes = {
            Pool.QUESTION: Lanes(uri, "question", _QUESTION_LANES),
            Pool.COMMAND: Lanes(uri, "command", _COMMAND_LANES, most_lasting=_LASTING_COMMANDS),
            Pool.STATISTICS: Lanes(uri, "statistics", _STATISTICS_LANES),
        }

    async def open(self, meet: Callable[[libvirt.virConnect], None]) -> None:
        """Connect the lane that hears events; the others connect when they are needed."""
        await self._events.run(meet)

    async def subscribe(self, on_open: Callable[[libvirt.virConnect], Sequence[int]]) -> None:
        """Subscribe by ``on_open`` to events in their lane."""

        def subscribe(connect: libvirt.virConnect) -> None:
            self._events.callbacks = on_open(connect)

        await self._events.run(subscribe)

    async def run(self, pool: Pool, call: Callable[[libvirt.virConnect], T]) -> T:
        """Make a call in a lane of this pool."""
        if pool is not Pool.STREAMS:
            return await self._lanes[pool].run(call)
        try:
            return await self._streams.run(call)
        except HypervisorError as error:
            if error.code is not ErrorCode.ERROR_ONLY_IF_CONNECTED:
                raise
        # A wire that was cut while nobody spoke is found out by the first who does.
        return await self._streams.run(call)

    async def on_streams(self, work: Callable[[], None]) -> None:
        """Do something with a stream, in the thread that has opened it."""
        await self._streams.submit(work)

    async def close(self) -> None:
        """Disconnect; what still hangs in a call disconnects when it comes back."""
        for lanes in self._lanes.values():
            lanes.end()
        self._streams.end()
        await asyncio.wait({self._events.end()}, timeout=_CLOSE_TIMEOUT_S)
