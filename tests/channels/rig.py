"""Guests as bytes in memory: honest ones, and those that lie."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from innkeeper.channels.agents import Agents
from innkeeper.channels.ports import GuestAgent, ScheduleDeleted, ScheduleRequested
from innkeeper.channels.throttle import Processor
from innkeeper.errors import AgentError, ErrorCode
from innkeeper.tasks.clock import FakeClock
from innkeeper.wire.byte_pipe import BytePipe
from innkeeper.wire.events import Event
from innkeeper.wire.session import Began, Called, GuestSession, Message, NoticeAcknowledged

TASK: Message = {"identifier": "u1", "status": 3, "percent": 5, "text": "", "packages": []}


def greeting(boot_id: str = "boot-1") -> Message:
    """What an honest agent says of itself."""
    return {
        "protocol": 1,
        "agent_version": "1",
        "boot_id": boot_id,
        "plugin_name": "apt",
        "os_name": "Testix",
        "tasks": [],
    }


class MemoryGuest:
    """The guest's end of a port in memory, and an agent that does what the test says."""

    def __init__(self) -> None:
        self.greeting = greeting()
        self.session = GuestSession(lambda: self.greeting)
        self.to_host: asyncio.Queue[bytes] = asyncio.Queue()
        #: Whether the guest reads what the host writes.
        self.reads = True
        #: Whether it answers pings, greetings and questions.
        self.answers = True
        self.greetings = 0
        self.questions: list[Message] = []
        self.noted: list[tuple[int, Message]] = []
        self.answer: Message = {"task": TASK}
        self._is_read = asyncio.Event()
        #: Offered what the guest sends, before it is there to be read.
        self.take: Callable[[bytes | memoryview], int] = lambda data: 0

    # The host's end (``BytePipe``)

    async def read(self) -> bytes:
        return await self.to_host.get()

    async def write(self, data: bytes) -> None:
        while not self.reads:
            self._is_read.clear()
            await self._is_read.wait()
        self._receive(data)

    async def close(self) -> None:
        pass

    # The guest's end

    def begin_to_read(self) -> None:
        """Read again."""
        self.reads = True
        self._is_read.set()

    def send(self, data: bytes) -> None:
        """Send any bytes."""
        taken = 0 if self.to_host.qsize() else self.take(data)
        if taken < len(data):
            self.to_host.put_nowait(data[taken:])

    def flush(self) -> None:
        """Send what the session wants to be sent."""
        while data := self.session.take_output(65536):
            self.send(data)

    def start(self) -> None:
        """Start the agent: it says that it is ready."""
        self.session.ready()
        self.flush()

    def give_notice(self, number: int, **message: object) -> None:
        """Send a notice."""
        self.session.give_notice(number, {"boot_id": "boot-1", "seq": number, **message})
        self.flush()

    def book(self, number: int, identifier: str = "u1") -> None:
        """Book an update."""
        self.give_notice(
            number,
            tell="schedule",
            label="",
            identifier=identifier,
            context="",
            start=1_800_000_000,
            end=0,
            deadline=0,
        )

    def _receive(self, data: bytes) -> None:
        events = self.session.receive(data)
        for event in events:
            if isinstance(event, Began):
                self.greetings += 1
            elif isinstance(event, Called):
                self.questions.append(event.message)
                if self.answers:
                    self.session.answer(event.number, self.answer)
            elif isinstance(event, NoticeAcknowledged):
                self.noted.append((event.number, event.message))
        if self.answers:
            self.flush()
        else:
            self.session.take_output()


class QuickMemoryPipe:
    """The host's end of a guest's port that is heard without waiting (``QuickPipe``)."""

    def __init__(self, guest: MemoryGuest) -> None:
        self._guest = guest
        self.read, self.write = guest.read, guest.write

    @property
    def is_free(self) -> bool:
        """Never: what is written is answered in the same turn, which no socket does."""
        return False

    def send(self, data: bytes) -> None:
        raise AssertionError("It is not free.")

    def hear(self, take: Callable[[bytes | memoryview], int]) -> None:
        self._guest.take = take

    async def close(self) -> None:
        self._guest.take = lambda data: 0


class Inn:
    """Agents over guests in memory, on a clock that the test holds."""

    def __init__(self, *machines: str, quick: bool = False) -> None:
        self._quick = quick
        self.clock = FakeClock()
        self.guests = {machine: MemoryGuest() for machine in machines}
        self.events: list[Event] = []
        #: What each piece of a guest's bytes takes of the processor.
        self.piece_seconds = 0.0
        self._spent_seconds = 0.0
        self.bookings: list[tuple[str, ScheduleRequested | ScheduleDeleted]] = []
        self.refusal = ""
        self.running = set(machines)
        #: What is said of a machine without a guest here.
        self.port_error: ErrorCode | None = None
        self.agents = Agents(
            open_port=self._open_port,
            running=self._running,
            on_booking=self._book,
            clock=self.clock,
            publish=self.events.append,
            processor=Processor(self.clock, self._spend),
        )

    async def session(self, machine: str = "web-1") -> GuestAgent:
        """A session that is there, or comes within two simulated seconds."""
        await self.clock.advance(2)
        return await self.agents.connected(machine, timeout=0)

    def kinds(self, machine: str = "web-1") -> list[str]:
        """The kinds of events of one machine."""
        return [event.kind for event in self.events if event.subject == machine]

    async def _open_port(self, machine: str) -> BytePipe:
        if machine not in self.guests:
            raise AgentError("There is no port.", machine=machine, code=self.port_error)
        guest = self.guests[machine]
        return QuickMemoryPipe(guest) if self._quick else guest

    def _spend(self) -> float:
        self._spent_seconds += self.piece_seconds
        return self._spent_seconds

    async def _running(self) -> set[str]:
        return self.running

    async def _book(self, machine: str, booking: ScheduleRequested | ScheduleDeleted) -> str:
        self.bookings.append((machine, booking))
        return self.refusal


@contextlib.asynccontextmanager
async def inn_of(*machines: str, quick: bool = False) -> AsyncIterator[Inn]:
    """An inn with these machines, running; with pipes that are heard at once, if ``quick``."""
    inn = Inn(*machines, quick=quick)
    await inn.agents.open()
    try:
        yield inn
    finally:
        await inn.agents.close()
