"""One libvirt connection that stays open, and its blocking calls in threads."""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import libvirt

from innkeeper.errors import ErrorCode, HypervisorError
from innkeeper.hypervisor.libvirt.event_loop import ensure_event_loop
from innkeeper.hypervisor.libvirt.faults import translated

T = TypeVar("T")

#: A look at the host takes milliseconds; few threads serve many.
_QUESTION_THREADS = 4
#: A start, save or turn-off holds its thread for seconds: these never stand in a question's way.
_COMMAND_THREADS = 16
#: A dead host is noticed after this many seconds × tries without an answer.
_KEEPALIVE_INTERVAL_S = 5
_KEEPALIVE_TRIES = 3
_FIRST_RETRY_S = 0.5
_LAST_RETRY_S = 30.0


class Pool(enum.Enum):
    """Which threads a call may hold."""

    #: Answered in milliseconds.
    QUESTION = enum.auto()
    #: May take as long as it likes.
    COMMAND = enum.auto()


class Connection:
    """One host's connection: opened once, and opened again by itself whenever it is lost."""

    def __init__(
        self,
        uri: str,
        *,
        on_open: Callable[[libvirt.virConnect], Sequence[int]],
        on_connected: Callable[[], None],
        on_lost: Callable[[str], None],
    ) -> None:
        """``on_open`` gets every new connection, in a thread, and returns the callbacks it registered."""
        self.uri = uri
        self._on_open = on_open
        self._on_connected = on_connected
        self._on_lost = on_lost
        self._connect: libvirt.virConnect | None = None
        self._callbacks: Sequence[int] = ()
        self._reopening: asyncio.Task[None] | None = None
        self._pools = {
            Pool.QUESTION: ThreadPoolExecutor(_QUESTION_THREADS, "libvirt-question"),
            Pool.COMMAND: ThreadPoolExecutor(_COMMAND_THREADS, "libvirt-command"),
        }

    async def open(self) -> None:
        """Connect. Raises where the host cannot be reached now."""
        if self._connect is None:
            await self._open_once()

    async def close(self) -> None:
        """Disconnect. Machines go on."""
        if self._reopening is not None:
            self._reopening.cancel()
            await asyncio.wait([self._reopening])
        connect, self._connect = self._connect, None
        if connect is not None:
            await self._dispose(connect)
        for pool in self._pools.values():
            pool.shutdown(wait=False)

    async def ask(self, question: Callable[[libvirt.virConnect], T], doing: str, machine: str = "") -> T:
        """Make a quick call in a thread."""
        return await self._run(Pool.QUESTION, question, doing, machine)

    async def command(self, command: Callable[[libvirt.virConnect], T], doing: str, machine: str = "") -> T:
        """Make a call that may take long in a thread. Cancelling the awaiting task does not stop it."""
        return await self._run(Pool.COMMAND, command, doing, machine)

    async def _run(self, pool: Pool, call: Callable[[libvirt.virConnect], T], doing: str, machine: str) -> T:
        connect = self._connect
        if connect is None:
            raise HypervisorError(
                f"Failed to {doing}: the host at {self.uri} is not connected.",
                code=ErrorCode.ERROR_ONLY_IF_CONNECTED,
                advice="Innkeeper connects again by itself as soon as the host answers.",
            )

        def work() -> T:
            with translated(doing, machine):
                return call(connect)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._pools[pool], work)
        except HypervisorError as error:
            if error.code is ErrorCode.ERROR_ONLY_IF_CONNECTED or _says_dead(error):
                await self._look_whether_lost(connect)
            raise

    async def _open_once(self) -> None:
        ensure_event_loop()
        loop = asyncio.get_running_loop()
        self._connect = await loop.run_in_executor(self._pools[Pool.COMMAND], self._open_blocking, loop)
        self._on_connected()

    def _open_blocking(self, loop: asyncio.AbstractEventLoop) -> libvirt.virConnect:
        with translated(f"connect to {self.uri}"):
            connect = libvirt.open(self.uri)
        with contextlib.suppress(libvirt.libvirtError):  # the embedded and test drivers have no wire
            connect.setKeepAlive(_KEEPALIVE_INTERVAL_S, _KEEPALIVE_TRIES)
        with contextlib.suppress(libvirt.libvirtError):

            def closed(_connect: libvirt.virConnect, reason: int, _opaque: object) -> None:
                loop.call_soon_threadsafe(self._lost, connect, f"reason {reason}")

            connect.registerCloseCallback(closed, None)
        with translated(f"watch {self.uri}"):
            self._callbacks = self._on_open(connect)
        return connect

    async def _dispose(self, connect: libvirt.virConnect) -> None:
        pool = self._pools[Pool.COMMAND]
        await asyncio.get_running_loop().run_in_executor(pool, _close, connect, self._callbacks)

    async def _look_whether_lost(self, connect: libvirt.virConnect) -> None:
        loop = asyncio.get_running_loop()
        if not await loop.run_in_executor(self._pools[Pool.QUESTION], _is_alive, connect):
            self._lost(connect, "no answer")

    def _lost(self, connect: libvirt.virConnect, why: str) -> None:
        if connect is not self._connect:
            return
        self._connect = None
        self._on_lost(why)
        self._reopening = asyncio.get_running_loop().create_task(self._reopen(connect))

    async def _reopen(self, lost: libvirt.virConnect) -> None:
        await self._dispose(lost)
        del lost
        delay = _FIRST_RETRY_S
        while True:
            try:
                await self._open_once()
            except Exception:
                await asyncio.sleep(delay)
                delay = min(delay * 2, _LAST_RETRY_S)
            else:
                return


def _is_alive(connect: libvirt.virConnect) -> bool:
    try:
        return bool(connect.isAlive())
    except libvirt.libvirtError:
        return False


def _says_dead(error: HypervisorError) -> bool:
    """libvirt reports a broken wire as an internal error, too."""
    return "client socket is closed" in str(error) or "connection closed" in str(error)


def _close(connect: libvirt.virConnect, callbacks: Sequence[int]) -> None:
    """Close the connection and its callbacks: one left keeps it, and an embedded root's lock, alive."""
    for callback in callbacks:
        with contextlib.suppress(libvirt.libvirtError):
            connect.domainEventDeregisterAny(callback)
    with contextlib.suppress(libvirt.libvirtError):
        connect.unregisterCloseCallback()
    with contextlib.suppress(libvirt.libvirtError):
        connect.close()
