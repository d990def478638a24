"""Link to one guest: a pipe, and one session after another over it."""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
from collections.abc import Callable

import structlog

from innkeeper.channels.allowance import Allowance, Offences
from innkeeper.channels.heartbeat import BEATS, BLOCK_SECONDS
from innkeeper.channels.ports import (
    GuestOutput,
    GuestStream,
    OnBooking,
    QuickPipe,
    ScheduleDeleted,
    ScheduleRequested,
    StreamListener,
)
from innkeeper.channels.receipts import Receipts
from innkeeper.channels.session import AgentSession
from innkeeper.channels.statements import OtherVersion, Unbelievable, read_hello, read_notice, read_told
from innkeeper.channels.streams import LinkStreams
from innkeeper.channels.throttle import CROWDED, SLICE_BYTES, Processor, Slice, Throttle
from innkeeper.errors import AgentError, InnkeeperError
from innkeeper.tasks.outcome import traceback_of
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.waiting import within
from innkeeper.wire.byte_pipe import BytePipe
from innkeeper.wire.frames import HEADER_BYTES, Fault, Interruption
from innkeeper.wire.session import (
    NONCE_BYTES,
    VERSION,
    Answered,
    Began,
    Event,
    HostSession,
    Message,
    MessageReceived,
    Noticed,
    Ponged,
    Readied,
)
from innkeeper.wire.streams import StreamData, StreamEof, StreamOpened, StreamReset, StreamWritable

_log = structlog.get_logger(__name__)

_CHUNK_BYTES = 64 * 1024
#: How many bookings of one guest may be looked at at once.
_MOST_BOOKINGS_IN_WORK = 16


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """Time-outs and pauses of a link, in seconds."""

    #: For the answer to the first greeting; doubled at each further one …
    first_greeting: float = 1.0
    #: … up to this.
    longest_greeting: float = 30.0
    #: Between two greetings, whatever the guest does.
    between_greetings: float = 0.5
    #: Between two pings.
    ping: float = BLOCK_SECONDS / BEATS
    #: For the answer to a ping.
    pong: float = 30.0


DEFAULT_PACE = Pace()


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """Callbacks and limits of a link, shared by all its guest's sessions."""

    #: The machine's key, and what people call it.
    machine: str
    name: str
    clock: Clock
    on_booking: OnBooking
    #: Told of each session that begins.
    on_session: Callable[[AgentSession], None]
    #: Told of every answer to a ping.
    on_heartbeat: Callable[[], None]
    #: Told when it is lost, and why.
    on_lost: Callable[[str], None]
    #: Told of an agent that speaks another version of the protocol, in words.
    on_other_version: Callable[[str], None]
    offences: Offences
    receipts: Receipts
    processor: Processor
    pace: Pace


class Link:
    """One pipe to one guest."""

    def __init__(self, pipe: BytePipe, around: Surroundings) -> None:
        self._pipe = pipe
        self._around = around
        self._quick = pipe if isinstance(pipe, QuickPipe) else None
        self._wire = HostSession()
        self._streams = LinkStreams(self._wire, self._flush)
        self._session: AgentSession | None = None
        #: Whether the last greeting has not been answered yet.
        self._greeted = False
        self._answers: dict[int, asyncio.Future[Message]] = {}
        self._bookings: set[asyncio.Task[None]] = set()
        #: Set when there is something to write.
        self._output = asyncio.Event()
        #: Set when the session began, was lost, or the guest asked for a new one.
        self._turn = asyncio.Event()
        self._ponged = asyncio.Event()
        clock = around.clock
        self._throttle = Throttle(clock, around.processor, around.offences)
        self._notices = Allowance(clock, per_second=50, burst=600)
        self._booking_rate = Allowance(clock, per_second=1, burst=100)
        self._log = Allowance(clock, per_second=64 << 10, burst=2 << 20)
        #: Whether some of what was read waits for its turn; nothing overtakes it.
        self._has_rest = False
        if self._quick is not None:
            self._quick.hear(self._hear)

    async def run(self) -> None:
        """Serve until the pipe is gone, or the guest has violated the protocol too often."""
        work = [asyncio.create_task(one()) for one in (self._read, self._write, self._keep)]
        try:
            await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (*work, *self._bookings):
                task.cancel()
            ends = await asyncio.gather(*work, *self._bookings, return_exceptions=True)
            self._lose("the port is closed")
        for end in ends:
            # A broken pipe is an end like any other; a broken link is not.
            if isinstance(end, Exception) and not isinstance(end, OSError | InnkeeperError):
                raise end

    # For the session

    def ask(self, message: Message) -> tuple[int, asyncio.Future[Message]]:
        """Send a question; returns its number and a future of the answer."""
        number = self._wire.call(message)
        self._answers[number] = asyncio.get_running_loop().create_future()
        self._flush()
        return number, self._answers[number]

    def forget(self, number: int) -> None:
        """Stop waiting for an answer."""
        answer = self._answers.pop(number, None)
        if answer is not None:
            answer.cancel()
            self._wire.forget_call(number)

    def open_stream(self, port: int, listener: StreamListener) -> GuestStream:
        """Open a stream to a TCP port of the guest."""
        if self._wire.streams.is_used_up:
            self._lose("all its streams are used up")
        return self._streams.open(port, listener)

    def offend(self, reason: str) -> None:
        """Count a violation: the session is lost, and a new one begun."""
        if self._session is not None:
            self._around.offences.count_fault(reason)
            self._lose(reason)

    # The three that run

    async def _read(self) -> None:
        throttle = self._throttle
        while data := await self._pipe.read():
            self._has_rest = True
            # Whoever sends more than a guest has reason to is read no faster than it should send.
            await throttle.pay()
            for begin in range(0, len(data), SLICE_BYTES):
                if self._around.offences.are_too_many:
                    return
                if self._receive(data[begin : begin + SLICE_BYTES]) > CROWDED:
                    await asyncio.sleep(0)
                await throttle.pay()
            self._has_rest = False

    def _hear(self, data: bytes | memoryview) -> int:
        """Take received bytes at once, while that is cheap; return how many."""
        taken = frames = 0
        while taken < len(data) and frames <= CROWDED and self._is_heard:
            frames = self._receive(data[taken : taken + SLICE_BYTES])
            taken += SLICE_BYTES
        return min(taken, len(data))

    @property
    def _is_heard(self) -> bool:
        return not (self._has_rest or self._throttle.is_owing or self._around.offences.are_too_many)

    def _receive(self, data: bytes | memoryview) -> int:
        """Process received bytes, and charge the guest for them; returns how many frames they ended."""
        began, frames, due = self._around.processor.spent(), self._wire.frames_received, 0
        for event in self._wire.receive(data):
            match event:
                case StreamData():
                    due += len(event.data)
                case StreamOpened() | StreamEof() | StreamReset():
                    due += HEADER_BYTES
            self._take(event)
        if self._wire.output_size:
            self._flush()
        frames = self._wire.frames_received - frames
        seconds = self._around.processor.spent() - began
        self._throttle.charge(Slice(size_bytes=len(data), due_bytes=due, frames=frames, seconds=seconds))
        return frames

    def _flush(self) -> None:
        """Send pending bytes: at once where the pipe takes them, else by ``_write``."""
        quick = self._quick
        if quick is not None:
            while self._wire.output_size and quick.is_free:
                quick.send(self._wire.take_output(_CHUNK_BYTES))
        if self._wire.output_size:
            self._output.set()

    async def _write(self) -> None:
        while True:
            await self._output.wait()
            self._output.clear()
            while data := self._wire.take_output(_CHUNK_BYTES):
                await self._pipe.write(data)
                self._streams.resume()
            # Somebody else may have sent the rest meanwhile.
            self._streams.resume()

    async def _keep(self) -> None:
        """Begin sessions, and watch over the present one."""
        pace, pause_seconds = self._around.pace, self._around.pace.first_greeting
        while not self._around.offences.are_too_many:
            # The answer to the greeting before may have come in the pause.
            if self._session is None:
                self._begin()
                was_heard = await within(self._around.clock, pause_seconds, self._turn.wait())
                pause_seconds = (
                    pace.first_greeting if was_heard else min(2 * pause_seconds, pace.longest_greeting)
                )
            await self._watch()
            await self._around.clock.sleep(pace.between_greetings)

    def _begin(self) -> None:
        self._turn.clear()
        # A greeting that the guest has not even read yet needs no second one behind it.
        if not (self._greeted and self._wire.output_size):
            self._greeted = True
            self._wire.begin(secrets.token_bytes(NONCE_BYTES), {"protocol": VERSION})
            self._flush()

    async def _watch(self) -> None:
        """Ping until the session is lost; return at once where there is none."""
        pace, clock = self._around.pace, self._around.clock
        while self._session is not None:
            self._turn.clear()
            if await within(clock, pace.ping, self._turn.wait()) or self._session is None:
                continue
            self._ponged.clear()
            self._wire.ping()
            self._flush()
            if not await within(clock, pace.pong, self._ponged.wait()):
                self._lose("it does not answer")

    # What the guest sent

    def _take(self, event: Event) -> None:
        match event:
            case Began(greeting):
                self._take_greeting(greeting)
            case Readied():
                self._around.offences.count_restart()
                self._lose("the agent was started again")
                self._turn.set()
            case Interruption():
                self._lose("the agent was started again")
            case _ if self._session is None:
                # Before there is a session the bytes may be anything, as the rest of one that is lost.
                return
            case Fault(reason):
                self.offend(reason)
            case _:
                self._take_in_session(event)

    def _take_in_session(self, event: Event) -> None:
        match event:
            case Answered(number, message):
                if number in self._answers:
                    self._answers[number].set_result(message)
            case Noticed(number, message):
                self._believing(lambda: self._take_notice(number, message))
            case MessageReceived(message):
                self._believing(lambda: self._take_told(message))
            case Ponged():
                self._around.on_heartbeat()
                self._ponged.set()
            case StreamOpened() | StreamData() | StreamWritable() | StreamEof() | StreamReset():
                self._streams.take(event)

    def _take_greeting(self, greeting: Message) -> None:
        around, self._greeted = self._around, False
        try:
            hello = read_hello(greeting)
        except OtherVersion as exc:
            around.on_other_version(str(exc))
            return
        except Unbelievable as exc:
            around.offences.count_fault(str(exc))
            return
        self._session = AgentSession(machine=around.name, hello=hello, line=self, clock=around.clock)
        self._turn.set()
        around.on_session(self._session)

    def _believing(self, take: Callable[[], None]) -> None:
        try:
            take()
        except Unbelievable as exc:
            self.offend(str(exc))

    def _take_told(self, message: Message) -> None:
        told = read_told(message)
        size = len(told.text) if isinstance(told, GuestOutput) else 200
        if self._session is not None and self._log.take(size):
            self._session.hear(told)

    def _take_notice(self, number: int, message: Message) -> None:
        if not self._notices.take(1):
            raise Unbelievable("it sends too many notices")
        notice, key = read_notice(message), Receipts.key(message)
        receipts = self._around.receipts
        known = receipts.answer(key)
        if known is not None:
            self._note(number, known)
        elif isinstance(notice.message, ScheduleRequested | ScheduleDeleted):
            self._take_booking(number, key, notice.message)
        elif self._session is not None:
            self._session.hear(notice.message)
            receipts.end(key, {})
            self._note(number, {})

    def _take_booking(self, number: int, key: str, booking: ScheduleRequested | ScheduleDeleted) -> None:
        receipts = self._around.receipts
        if receipts.is_in_work(key):
            return
        if receipts.in_work >= _MOST_BOOKINGS_IN_WORK or not self._booking_rate.take(1):
            self._note(number, {"error": "This guest sends too many bookings. Try again later."})
            return
        receipts.begin(key)
        task = asyncio.create_task(self._book(number, key, booking))
        self._bookings.add(task)
        task.add_done_callback(self._bookings.discard)

    async def _book(self, number: int, key: str, booking: ScheduleRequested | ScheduleDeleted) -> None:
        serial = self._wire.serial
        answer: Message | None = None
        try:
            refusal = await self._around.on_booking(self._around.machine, booking)
            answer = {"error": refusal} if refusal else {}
        except Exception as exc:  # the guest asks again; others' bookings go on
            _log.error("booking_broke", machine=self._around.name, traceback=traceback_of(exc))
            return
        finally:
            self._around.receipts.end(key, answer)
        # In a later session the guest asks again, and finds the receipt.
        if serial == self._wire.serial:
            self._note(number, answer)

    def _note(self, number: int, answer: Message) -> None:
        self._wire.note(number, answer)
        self._flush()

    def _lose(self, reason: str) -> None:
        if self._session is None:
            return
        session, self._session = self._session, None
        session.lose(reason)
        self._streams.lose(reason)
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(
                    AgentError(
                        f"The session with the task agent of {self._around.name} was lost: {reason}.",
                        machine=self._around.name,
                        advice=(
                            "It is renewed automatically. If that does not happen, "
                            "look at the machine's console."
                        ),
                    )
                )
        self._answers.clear()
        self._turn.set()
        # Nobody waits for the pong of a session that is lost.
        self._ponged.set()
        self._around.on_lost(reason)
