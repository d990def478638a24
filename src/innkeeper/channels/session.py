"""One session with a guest's task agent."""

from __future__ import annotations

import asyncio
import base64
import weakref
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from innkeeper.channels.guest_details import Effect
from innkeeper.channels.guest_statements import (
    read_count,
    read_facts,
    read_parameters,
    read_sessions,
    read_updates,
)
from innkeeper.channels.health_statements import read_effect, read_evidence, read_health
from innkeeper.channels.message_queue import MessageQueue
from innkeeper.channels.ports import (
    AgentHello,
    AgentTask,
    GuestMessage,
    GuestStream,
    HealthReport,
    Preparation,
    StreamListener,
)
from innkeeper.channels.statements import (
    MAX_ITEMS,
    Reader,
    Unbelievable,
    clean_sentence,
    read_may_reach,
    read_preparation,
    read_task_of,
)
from innkeeper.errors import AgentError, ErrorCode
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.waiting import within
from innkeeper.wire.guest_facts import Ability, GuestFacts, GuestParameter, LogonSession, WaitingUpdate
from innkeeper.wire.session import Message

T = TypeVar("T")

#: How long an answer may take, in seconds; guests under emulation are slow.
CALL_S = 30.0
#: A health report runs the guest's own check scripts.
HEALTH_S = 300.0
#: What runs programs of the guest's.
SLOW_S = 90.0
#: A look at the guest's sources, over its network, and what waits.
SCAN_S = 400.0


class Line(Protocol):
    """The link below a session."""

    def ask(self, message: Message) -> tuple[int, asyncio.Future[Message]]:
        """Send a question; returns its number and a future of the answer."""

    def forget(self, number: int) -> None:
        """Stop waiting for an answer."""

    def offend(self, reason: str) -> None:
        """Count a violation of the protocol: the session is lost."""

    def open_stream(self, port: int, listener: StreamListener) -> GuestStream:
        """Open a stream; raises ``ValueError`` where the session carries no more."""


class AgentSession:
    """One live session (``GuestAgent``)."""

    def __init__(self, *, machine: str, hello: AgentHello, line: Line, clock: Clock) -> None:
        self._machine = machine
        self._hello = hello
        self._line = line
        self._clock = clock
        #: Why it is over, or empty while it lasts.
        self._lost = ""
        self._queues: weakref.WeakSet[MessageQueue] = weakref.WeakSet()

    @property
    def hello(self) -> AgentHello:
        """The agent's HELLO message."""
        return self._hello

    @property
    def is_live(self) -> bool:
        """Whether the session lasts."""
        return not self._lost

    async def prepare(
        self, label: str, identifier: str, context: bytes, *, attempt: str, offset: int
    ) -> Preparation:
        """Prepare an update, or return how far that is."""
        question = _about_an_update("prepare", label, identifier, context, attempt)
        return await self._ask(
            {**question, "offset": offset}, lambda answer: read_preparation(answer.get("preparation"))
        )

    async def stop_preparing(self, identifier: str) -> None:
        """Ask the agent to stop a preparation; best effort."""
        await self._ask({"do": "stop_preparing", "identifier": identifier}, _nothing)

    async def start_task(
        self, label: str, identifier: str, context: bytes, *, attempt: str = ""
    ) -> AgentTask:
        """``StartTask``; a known identifier starts nothing and returns its state."""
        question = _about_an_update("start_task", label, identifier, context, attempt)
        return await self._ask(question, lambda answer: read_task_of(answer.get("task"), identifier))

    async def task(self, identifier: str) -> AgentTask | None:
        """Return the agent's journal entry of an update."""
        question: Message = {"do": "task", "identifier": identifier}
        return await self._ask(
            question,
            lambda answer: (
                None if answer.get("task") is None else read_task_of(answer.get("task"), identifier)
            ),
        )

    async def last_words(self, identifier: str) -> AsyncIterator[str]:
        """None: the agent tells what is printed as it comes."""
        return
        yield

    async def cancel_task(self, identifier: str) -> None:
        """Ask the agent to cancel an update; best effort."""
        await self._ask({"do": "cancel_task", "identifier": identifier}, _nothing)

    async def health(self, *, history: bool = False) -> HealthReport:
        """The guest's own report, now."""
        question: Message = {"do": "health", "history": history}
        return await self._ask(question, lambda answer: read_health(answer.get("health")), HEALTH_S)

    async def evidence(self, units: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """What is known of units in trouble, in lines."""
        question: Message = {"do": "evidence", "units": [*units]}
        return await self._ask(question, lambda answer: read_evidence(answer, units), SLOW_S)

    async def effect(self) -> Effect:
        """Whether an update has taken effect."""
        return await self._ask({"do": "effect"}, read_effect, SLOW_S)

    async def restart_units(self, units: Sequence[str]) -> Sequence[str]:
        """Begin to restart units; returns which."""
        question: Message = {"do": "restart_units", "units": [*units]}
        return await self._ask(question, lambda answer: Reader(answer).texts("units", MAX_ITEMS), SLOW_S)

    async def disturbed(self, identifier: str, *, start: bool) -> Sequence[str]:
        """The units whose jobs an update has disturbed."""
        question: Message = {"do": "disturbed", "identifier": identifier, "start": start}
        return await self._ask(question, lambda answer: Reader(answer).texts("units", MAX_ITEMS))

    async def reboot(self) -> None:
        """Ask the guest to reboot; returns when it has agreed."""
        await self._ask({"do": "reboot"}, _nothing)

    async def shut_down(self) -> None:
        """Ask the guest to power off; returns when it has agreed."""
        await self._ask({"do": "shut_down"}, _nothing)

    async def may_reach(self, port: int) -> bool:
        """Whether the guest's administrator allows channels to this port."""
        return await self._ask({"do": "may_reach", "port": port}, read_may_reach)

    def open_stream(self, port: int, listener: StreamListener) -> GuestStream:
        """Ask for a connection to 127.0.0.1 at this port; raises ``AgentError`` where there are too many."""
        if self._lost:
            raise self._error(f"The session with the task agent of {self._machine} is lost: {self._lost}.")
        try:
            return self._line.open_stream(port, listener)
        except ValueError as exc:
            raise AgentError(
                f"{self._machine} cannot carry another connection: {exc}.",
                machine=self._machine,
                code=ErrorCode.ERROR_MAX_SESSIONS_REACHED,
                advice="Close connections that are not needed.",
            ) from exc

    def knows(self, ability: Ability) -> bool:
        """Whether the agent has an ability, by its HELLO message."""
        return ability in self._hello.knows

    async def version(self) -> str:
        """The agent's version."""
        return self._hello.agent_version

    async def boot_id(self) -> str:
        """Identity of the guest's boot; a session never outlives its boot."""
        if self._lost:
            raise self._error(f"The session with the task agent of {self._machine} is lost: {self._lost}.")
        return self._hello.boot_id

    async def ping(self) -> None:
        """Return when the agent has answered."""
        await self._ask({"do": "task", "identifier": "-"}, _nothing)

    async def facts(self) -> GuestFacts:
        """Return the guest's facts."""
        return await self._ask({"do": "facts"}, lambda answer: read_facts(answer.get("facts")))

    async def sessions(self) -> Sequence[LogonSession]:
        """Return who is logged on."""
        return await self._ask({"do": "sessions"}, lambda answer: read_sessions(answer), SLOW_S)

    async def log_off(self) -> int:
        """Log everybody off."""
        return await self._ask({"do": "log_off"}, lambda answer: read_count(answer), SLOW_S)

    async def parameters(self) -> Mapping[str, GuestParameter]:
        """Return the named values that the guest keeps."""
        return await self._ask({"do": "parameters"}, lambda answer: read_parameters(answer))

    async def set_parameter(self, name: str, value: str | None, *, revision: int) -> None:
        """Set a named value; ``None`` removes it."""
        question: Message = {"do": "set_parameter", "name": name, "value": value, "revision": revision}
        await self._ask(question, _nothing)

    async def scan(self) -> Sequence[WaitingUpdate]:
        """Return the updates that wait."""
        return await self._ask({"do": "scan"}, lambda answer: read_updates(answer), SCAN_S)

    async def set_time(self, seconds: float) -> None:
        """Set the guest's clock."""
        await self._ask({"do": "set_time", "seconds": seconds}, _nothing)

    def messages(self) -> AsyncIterator[GuestMessage]:
        """Yield the guest's messages from this call on, until the session is lost."""
        feed = MessageQueue()
        if self._lost:
            feed.end()
        self._queues.add(feed)
        return feed

    # For the link

    def hear(self, message: GuestMessage) -> None:
        """Pass on a message of the guest."""
        for feed in self._queues:
            feed.put(message)

    def lose(self, reason: str) -> None:
        """End the session, with the reason."""
        self._lost = self._lost or reason
        for feed in self._queues:
            feed.end()

    # Machinery

    async def _ask(
        self, question: Message, read: Callable[[Message], T], timeout_seconds: float = CALL_S
    ) -> T:
        if self._lost:
            raise self._error(f"The session with the task agent of {self._machine} is lost: {self._lost}.")
        answer = await self._answer(question, timeout_seconds)
        if "error" in answer:
            raise self._refusal(answer["error"])
        try:
            return read(answer)
        except Unbelievable as exc:
            self._line.offend(str(exc))
            raise self._error(
                f"The task agent of {self._machine} gave an answer that cannot be read: {exc}."
            ) from exc

    async def _answer(self, question: Message, timeout_seconds: float) -> Message:
        try:
            number, answer = self._line.ask(question)
        except ValueError as exc:
            raise self._error(f"The task agent of {self._machine} cannot be asked: {exc}.") from exc
        try:
            if not await within(self._clock, timeout_seconds, asyncio.shield(answer)):
                raise self._error(
                    f"The task agent of {self._machine} did not answer within {timeout_seconds:g} seconds.",
                    ErrorCode.VM_E_TIMED_OUT,
                )
            return answer.result()
        finally:
            self._line.forget(number)

    def _refusal(self, response: object) -> AgentError:
        try:
            sentence = clean_sentence(response)
        except Unbelievable:
            sentence = "no reason given"
        return self._error(f"The task agent of {self._machine} refused: {sentence}")

    def _error(self, sentence: str, code: ErrorCode | None = None) -> AgentError:
        return AgentError(
            sentence, machine=self._machine, code=code, advice="Look at the agent's log inside the guest."
        )


def _about_an_update(do: str, label: str, identifier: str, context: bytes, attempt: str) -> Message:
    return {
        "do": do,
        "label": label,
        "identifier": identifier,
        "context": base64.b64encode(context).decode(),
        "attempt": attempt,
    }


def _nothing(answer: Message) -> None:
    return None
