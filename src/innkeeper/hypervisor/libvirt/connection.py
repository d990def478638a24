"""The connection to one libvirt host: it stays open, and its blocking calls are made in threads."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import libvirt
import structlog

from innkeeper.errors import ErrorCode, HypervisorError, InnkeeperError
from innkeeper.hypervisor.libvirt.calls import Calls, LaneCalls, Pool, SharedCalls
from innkeeper.hypervisor.libvirt.event_loop import ensure_event_loop
from innkeeper.hypervisor.libvirt.faults import translated
from innkeeper.hypervisor.libvirt.identities import LibvirtIdentity
from innkeeper.hypervisor.libvirt.lanes import says_lost, silent
from innkeeper.hypervisor.libvirt.uris import HostUri
from innkeeper.servers.fence import OPEN, Fence, HostElsewhere, through

T = TypeVar("T")

#: A daemon answers a look in milliseconds, or does not.
_ANSWER_TIMEOUT_S = 5.0
#: How long a command whose wire was lost waits for the host to be back, to look what became of it.
_PATIENCE_S = 120.0
_FIRST_RETRY_S = 0.5
_LAST_RETRY_S = 30.0
#: How long the first command after a connection waits for the cleaning up.
_CLEANING_S = 10.0

_log = structlog.get_logger()


class Connection:
    """One host's connection: opened again by itself whenever it is lost."""

    def __init__(
        self,
        uri: HostUri,
        *,
        identity: LibvirtIdentity,
        fence: Fence = OPEN,
        on_open: Callable[[libvirt.virConnect], Sequence[int]],
        clean_up: Callable[[libvirt.virConnect], None],
        on_connected: Callable[[], None],
        on_lost: Callable[[str], None],
    ) -> None:
        """``on_open`` gets every new connection, in a thread, and returns the callbacks it registered.

        ``clean_up`` is called next, where commands are made; it may take long. Neither is before the host
        has said who it is and ``fence`` has taken it.
        """
        self.uri = uri.text
        self._identity = identity
        self.fence = fence
        self._is_in_process = uri.root is not None or uri.is_test
        self._on_open = on_open
        self._clean_up = clean_up
        self._on_connected = on_connected
        self._on_lost = on_lost
        self._calls: Calls | None = None
        self._is_open = asyncio.Event()
        self._why_away = "it was not connected yet"
        self._reopening: asyncio.Task[None] | None = None
        self._try_now = asyncio.Event()
        #: Whether a question was not answered in time: until it is, nobody else is to wait for an answer.
        self._is_silent = False

    async def open(self) -> None:
        """Connect. A daemon that cannot be reached now is tried again until it can be; a driver raises.

        One that is tried again is tried at once.
        """
        self._try_now.set()
        if self._calls is not None or self._reopening is not None:
            return
        try:
            await self._open_once()
        except HostElsewhere as error:
            self._wait_for_turn(error.sentence)
        except HypervisorError as error:
            if self._is_in_process:
                raise
            self._is_away(error.sentence)

    async def close(self) -> None:
        """Disconnect. Machines go on."""
        if self._reopening is not None:
            self._reopening.cancel()
            await asyncio.wait([self._reopening])
        calls, self._calls = self._calls, None
        if calls is not None:
            await calls.close()

    async def let_go(self) -> None:
        """Disconnect from a host that another server looks after now; it is tried again when it is free."""
        calls, self._calls = self._calls, None
        self._is_open.clear()
        if calls is not None:
            await calls.close()
            self._wait_for_turn("another server looks after it")

    async def ask(self, question: Callable[[libvirt.virConnect], T], doing: str, machine: str = "") -> T:
        """Make a quick call in a thread: one that waits for no QEMU."""
        calls = self._connected()
        if self._is_silent:
            raise silent(self.uri)
        asked = asyncio.ensure_future(calls.run(Pool.QUESTION, _translating(question, doing, machine)))
        asked.add_done_callback(self._heard)
        await asyncio.wait({asked}, timeout=None if self._is_in_process else _ANSWER_TIMEOUT_S)
        if not asked.done():
            self._is_silent = True
            raise silent(self.uri)
        return asked.result()

    def _heard(self, asked: asyncio.Future[T]) -> None:
        """A question was answered, or its wire was cut: others may be asked again."""
        if not asked.cancelled():
            asked.exception()  # whoever has asked it may not wait any more
        self._is_silent = False

    async def command(
        self,
        command: Callable[[libvirt.virConnect], T],
        doing: str,
        machine: str = "",
        *,
        again: bool = False,
        final: bool = True,
    ) -> T:
        """Make a call that may take long in a thread. Cancelling the awaiting task does not stop it.

        ``again``: it looks before it acts, so it is made again when the wire was lost and the host is back.
        ``final``: it changes what only the host's owner may; else it concerns a guest that runs, and the
        lease is looked for in this process alone.
        """

        def fenced(connect: libvirt.virConnect) -> T:
            self.fence.check(final=final)
            return command(connect)

        return await through(
            self.fence, lambda: self._command(Pool.COMMAND, fenced, doing, machine, again=again)
        )

    async def measure(self, call: Callable[[libvirt.virConnect], T], doing: str) -> T:
        """Make a call that asks every QEMU, and hangs where one of them does not answer."""
        return await self._command(Pool.STATISTICS, call, doing, "", again=False)

    async def stream(
        self, join: Callable[[libvirt.virConnect], None], doing: str, machine: str
    ) -> Callable[[Callable[[], None]], Awaitable[None]]:
        """Join a stream, and return what does other things with it where this may be done."""
        calls = self._connected()
        await calls.run(Pool.STREAMS, _translating(join, doing, machine))
        return calls.on_streams

    # Machinery

    def _connected(self) -> Calls:
        if self._calls is None:
            raise HypervisorError(
                f"The host at {self.uri} is not connected ({self._why_away}).",
                code=ErrorCode.ERROR_ONLY_IF_CONNECTED,
                advice="Innkeeper connects again by itself as soon as the host answers.",
            )
        return self._calls

    async def _command(
        self, pool: Pool, command: Callable[[libvirt.virConnect], T], doing: str, machine: str, *, again: bool
    ) -> T:
        loop = asyncio.get_running_loop()
        patient_until = loop.time() + _PATIENCE_S
        calls = self._connected()
        while True:
            try:
                return await calls.run(pool, _translating(command, doing, machine))
            except HypervisorError as error:
                if not again or not says_lost(error) or loop.time() > patient_until:
                    raise
                _log.info("command_lost_its_wire", doing=doing, machine=machine, error=error.sentence)
                await asyncio.sleep(_FIRST_RETRY_S)
                calls = await self._back(error, patient_until - loop.time())

    async def _back(self, error: HypervisorError, seconds: float) -> Calls:
        """Wait until the host is connected. Raises ``error`` where it is not in time."""
        try:
            async with asyncio.timeout(seconds):
                while self._calls is None:
                    await self._is_open.wait()
        except TimeoutError:
            raise error from None
        return self._calls

    async def _open_once(self) -> None:
        ensure_event_loop()
        loop = asyncio.get_running_loop()

        lost_at_once: list[str] = []

        def closed(why: str) -> None:
            lost_at_once.append(why)
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._lost, calls, why)

        calls: Calls = (SharedCalls if self._is_in_process else LaneCalls)(self.uri, on_closed=closed)
        try:
            await calls.open(self._identity.learn)
            await self.fence.claim(self._identity.id)
            await calls.subscribe(self._on_open)
            await self._clean(calls)
        except BaseException:
            await calls.close()
            raise
        self._calls = calls
        self._is_open.set()
        self._on_connected()
        await self.fence.opened()
        if lost_at_once:
            self._lost(calls, lost_at_once[0])

    async def _clean(self, calls: Calls) -> None:
        """Clean up after crashes; behind a daemon somebody else's long work is not waited out."""
        cleaning = asyncio.ensure_future(
            calls.run(Pool.COMMAND, _translating(self._clean_up, "clean up", ""))
        )
        await asyncio.wait({cleaning}, timeout=None if self._is_in_process else _CLEANING_S)
        if cleaning.done():
            cleaning.result()
        else:
            cleaning.add_done_callback(_log_failure)

    def _lost(self, calls: Calls, why: str) -> None:
        if calls is self._calls:
            self._calls = None
            self._is_open.clear()
            self._is_away(why, calls)

    def _is_away(self, why: str, calls: Calls | None = None) -> None:
        self._why_away = self._cause(why)
        self._on_lost(why)
        self._reopening = asyncio.get_running_loop().create_task(self._reopen(calls), name=f"to {self.uri}")

    def _wait_for_turn(self, why: str) -> None:
        """Try again when the host is free; that another server has it is nothing to tell."""
        self._why_away = self._cause(why)
        self._reopening = asyncio.get_running_loop().create_task(self._reopen(None), name=f"to {self.uri}")

    def _cause(self, why: str) -> str:
        """The reason alone, for a sentence that names the host already."""
        return why.removeprefix(f"Failed to connect to {self.uri}: ").rstrip(".")

    async def _reopen(self, lost: Calls | None) -> None:
        if lost is not None:
            await lost.close()
            del lost
        delay: float | None = _FIRST_RETRY_S
        while True:
            try:
                await self._open_once()
            except HostElsewhere as error:
                self._why_away = self._cause(error.sentence)
                delay = None
            except InnkeeperError as error:
                self._why_away = self._cause(error.sentence)
            except Exception:
                _log.exception("host_not_reopened", uri=self.uri)
            else:
                # It may be lost again by now, and another task on the way.
                if self._reopening is asyncio.current_task():
                    self._reopening = None
                return
            await self._rest(delay)
            delay = min((delay or _FIRST_RETRY_S) * 2, _LAST_RETRY_S)

    async def _rest(self, seconds: float | None) -> None:
        """Wait so long, or until the host is to be tried; without a time where another server has it."""
        self._try_now.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._try_now.wait()


def _translating(
    call: Callable[[libvirt.virConnect], T], doing: str, machine: str
) -> Callable[[libvirt.virConnect], T]:
    def work(connect: libvirt.virConnect) -> T:
        with translated(doing, machine):
            return call(connect)

    return work


def _log_failure(cleaning: asyncio.Future[None]) -> None:
    if not cleaning.cancelled() and (error := cleaning.exception()) is not None:
        _log.warning("host_not_cleaned_up", error=str(error))
