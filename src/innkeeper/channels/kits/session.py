"""A guest without a task agent as the host uses it: each question is one run of its kit."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import NoReturn, TypeVar

from innkeeper.channels.guest_details import Effect
from innkeeper.channels.guest_statements import read_facts, read_sessions, read_updates
from innkeeper.channels.health_statements import read_effect, read_evidence, read_health
from innkeeper.channels.kits.asking import KitAnswers
from innkeeper.channels.ports import (
    AgentHello,
    AgentTask,
    GuestMessage,
    GuestOutput,
    GuestStream,
    HealthReport,
    Preparation,
    StreamListener,
    TaskStateChanged,
)
from innkeeper.channels.statements import (
    MAX_ITEMS,
    MAX_TEXT_CHARS,
    Reader,
    Unbelievable,
    clean,
    read_hello,
    read_preparation,
    read_task_of,
    said_nothing,
)
from innkeeper.errors import AgentError, ErrorCode
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.waiting import Signal
from innkeeper.wire.guest_facts import Ability, GuestFacts, GuestParameter, LogonSession, WaitingUpdate

T = TypeVar("T")

#: How long an answer may take, in seconds: it starts programs, and guests under emulation are slow.
_CALL_S = 90.0
_HEALTH_S = 300.0
_SCAN_S = 400.0
#: How often an update is looked at, at first and when nothing happens.
_FIRST_LOOK_S, _LAST_LOOK_S = 2.0, 10.0
#: How often an update that has ended is asked for what it printed: whoever tells more than a log holds lies.
_MOST_LAST_LOOKS = 64
_MAX_LIMITS = 32
#: Where the guest was asked from last: so a service that was restarted repeats no output.
_WHERE_IT_WAS = "-"
_MAX_OFFSET = (1 << 53) - 1


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class KitHello:
    """What a kit says of itself and its guest."""

    hello: AgentHello
    #: Whether the task agent is installed in the guest.
    has_task_agent: bool
    #: What cannot be done or told through the kit, a sentence each.
    limits: tuple[str, ...]


def read_kit_hello(answer: Mapping[str, object]) -> KitHello:
    """Parse a kit's greeting."""
    reader = Reader(answer)
    limits = [] if said_nothing(answer, "limits") else reader.items("limits", _MAX_LIMITS)
    return KitHello(
        hello=dataclasses.replace(read_hello(answer), max_streams=0),
        has_task_agent=not said_nothing(answer, "task_agent") and reader.truth("task_agent"),
        limits=tuple(clean(sentence, MAX_TEXT_CHARS) for sentence in limits),
    )


class KitSession:
    """One guest's kit in one boot (``GuestAgent``)."""

    def __init__(self, answers: KitAnswers, greeting: KitHello, clock: Clock) -> None:
        self._answers = answers
        self._machine = answers.machine
        self._greeting = greeting
        self._clock = clock
        #: The updates that were asked about, with what was told of them last.
        self._followed: dict[str, AgentTask] = {}
        self._offsets: dict[str, str] = {}
        #: Those of which all is told.
        self._told: set[str] = set()
        #: Whether somebody waits for messages of the updates; and what wakes the look for them.
        self._is_heard = False
        self._woken = Signal()

    @property
    def hello(self) -> AgentHello:
        """What the kit said first."""
        return self._greeting.hello

    @property
    def limits(self) -> Sequence[str]:
        """What cannot be done or told without the task agent."""
        return self._greeting.limits

    async def prepare(
        self, label: str, identifier: str, context: bytes, *, attempt: str, offset: int
    ) -> Preparation:
        """Prepare an update, or return how far that is."""
        words = (label, identifier, attempt, str(offset))
        answer = await self._ask("prepare", *words, stdin=context)
        return self._read(lambda: read_preparation(answer.get("preparation")))

    async def stop_preparing(self, identifier: str) -> None:
        """Ask the guest to stop a preparation; best effort."""
        await self._ask("stop-preparing", identifier)

    async def start_task(
        self, label: str, identifier: str, context: bytes, *, attempt: str = ""
    ) -> AgentTask:
        """``StartTask``; a known identifier starts nothing and returns its state."""
        answer = await self._ask("start", label, identifier, attempt, stdin=context)
        task = self._read(lambda: read_task_of(answer.get("task"), identifier))
        self._followed[identifier] = task
        return task

    async def task(self, identifier: str) -> AgentTask | None:
        """Return what the guest knows of an update; its end once ``messages`` have told all of its output."""
        answer = await self._ask("task", identifier)
        task = self._read(lambda: _task_in(answer, identifier))
        if task is None:
            return None
        told = self._followed.setdefault(identifier, task)
        if self._is_heard and task.status.is_final and not told.status.is_final:
            self._woken.set()
            return told
        return task

    async def last_words(self, identifier: str) -> AsyncIterator[str]:
        """What is left to tell of an update whose guest did not answer to the very end of it."""
        if identifier not in self._told:
            async for _, lines in self._news(identifier):
                for line in lines:
                    yield line

    async def cancel_task(self, identifier: str) -> None:
        """Ask the guest to cancel an update; best effort."""
        await self._ask("cancel", identifier)

    async def health(self, *, history: bool = False) -> HealthReport:
        """The guest's own report, now."""
        answer = await self._ask("health", *(["history"] if history else []), timeout=_HEALTH_S)
        return self._read(lambda: read_health(answer.get("health")))

    async def evidence(self, units: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """What is known of units in trouble, in lines."""
        answer = await self._ask("evidence", *units)
        return self._read(lambda: read_evidence(answer, units))

    async def effect(self) -> Effect:
        """Whether an update has taken effect."""
        answer = await self._ask("effect")
        return self._read(lambda: read_effect(answer))

    async def restart_units(self, units: Sequence[str]) -> Sequence[str]:
        """Begin to restart units; returns which."""
        answer = await self._ask("restart-units", *units)
        return self._read(lambda: Reader(answer).texts("units", MAX_ITEMS))

    async def disturbed(self, identifier: str, *, start: bool) -> Sequence[str]:
        """None are known: a kit does not look for them."""
        return ()

    async def reboot(self) -> None:
        """Ask the guest to reboot; returns when it has agreed."""
        await self._ask("reboot")

    async def shut_down(self) -> None:
        """Ask the guest to power off; returns when it has agreed."""
        await self._ask("shut-down")

    async def may_reach(self, port: int) -> bool:
        """Refuse: no byte of a channel goes through qemu-guest-agent."""
        self._refuse("Its ports cannot be reached")

    def open_stream(self, port: int, listener: StreamListener) -> GuestStream:
        """Refuse: no byte of a channel goes through qemu-guest-agent."""
        self._refuse("Its ports cannot be reached")

    def knows(self, ability: Ability) -> bool:
        """Whether the kit has an ability."""
        return ability in self.hello.knows

    async def version(self) -> str:
        """The kit's version."""
        return self.hello.agent_version

    async def boot_id(self) -> str:
        """Identity of the boot in which the session began."""
        return self.hello.boot_id

    async def ping(self) -> None:
        """Return when the kit has answered."""
        await self._ask("task", "-")

    async def facts(self) -> GuestFacts:
        """Return the guest's facts."""
        answer = await self._ask("facts")
        return self._read(lambda: read_facts(answer.get("facts")))

    async def sessions(self) -> Sequence[LogonSession]:
        """Return who is logged on."""
        answer = await self._ask("sessions")
        return self._read(lambda: read_sessions(answer))

    async def log_off(self) -> int:
        """Refuse: kits do not."""
        self._refuse("Its users cannot be logged off")

    async def parameters(self) -> Mapping[str, GuestParameter]:
        """Refuse: kits keep none."""
        self._refuse("It keeps no parameters")

    async def set_parameter(self, name: str, value: str | None, *, revision: int) -> None:
        """Refuse: kits keep none."""
        self._refuse("It keeps no parameters")

    async def scan(self) -> Sequence[WaitingUpdate]:
        """Return the updates that wait."""
        answer = await self._ask("scan", timeout=_SCAN_S)
        return self._read(lambda: read_updates(answer))

    async def set_time(self, seconds: float) -> None:
        """Set the guest's clock."""
        await self._ask("set-time", f"{seconds:.3f}")

    async def messages(self) -> AsyncIterator[GuestMessage]:
        """Look at the updates that were asked about, again and again, and tell what is new.

        Ends when the guest does not answer.
        """
        pause_s = _FIRST_LOOK_S
        self._is_heard = True
        try:
            while True:
                await self._woken.wait_within(self._clock, pause_s)
                is_quiet = True
                for identifier in self._live:
                    async for message in self._look(identifier):
                        is_quiet = False
                        self._is_heard = False  # nor is it by who takes this one, and then no more
                        yield message
                        self._is_heard = True
                pause_s = min(pause_s + 1, _LAST_LOOK_S) if is_quiet else _FIRST_LOOK_S
        except AgentError:
            return
        finally:
            self._is_heard = False

    # Machinery

    @property
    def _live(self) -> Sequence[str]:
        """The updates that have not ended, as far as is known."""
        return [name for name, task in self._followed.items() if not task.status.is_final]

    async def _look(self, identifier: str) -> AsyncIterator[GuestMessage]:
        """What an update has printed and come to since the last look; its last words come before its end.

        An end that is known is told, though the guest does not answer any more.
        """
        task: AgentTask | None = None
        try:
            async for told, lines in self._news(identifier):
                task = told
                for line in lines:
                    yield GuestOutput(identifier=identifier, text=line)
        except AgentError:
            if task is None or not task.status.is_final:
                raise
        if task is not None and task != self._followed[identifier]:
            self._followed[identifier] = task
            yield TaskStateChanged(task=task)

    async def _news(self, identifier: str) -> AsyncIterator[tuple[AgentTask | None, Sequence[str]]]:
        """What an update has come to and printed since the last question: all of it, where it has ended."""
        for _ in range(_MOST_LAST_LOOKS):
            came_from = self._offsets.get(identifier, _WHERE_IT_WAS)
            answer = await self._ask("task", identifier, came_from)
            task, lines, offset = self._read(functools.partial(_news_in, answer, identifier))
            self._offsets[identifier] = str(offset)
            yield task, lines
            if task is None or not task.status.is_final:
                return
            if str(offset) == came_from:
                break
        self._told.add(identifier)

    async def _ask(
        self, verb: str, *arguments: str, stdin: bytes = b"", timeout: float = _CALL_S
    ) -> Mapping[str, object]:
        if any("\0" in argument for argument in arguments):
            raise self._answers.liar("a word for it holds a NUL")
        return await self._answers.ask(verb, *arguments, stdin=stdin, timeout=timeout)

    def _read(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except Unbelievable as lie:
            raise self._answers.liar(lie) from lie

    def _refuse(self, what: str) -> NoReturn:
        raise AgentError(
            f"{what}: {self._machine} is reached through qemu-guest-agent alone.",
            machine=self._machine,
            code=ErrorCode.VM_E_ADDITIONS_FEATURE_NOT_AVAIL,
            advice=self._answers.kit.advice(self._machine),
            way_out=f"innkeeper machine prepare {self._machine}" if self._answers.kit.has_task_agent else "",
        )


def _task_in(answer: Mapping[str, object], identifier: str) -> AgentTask | None:
    told = answer.get("task")
    return None if told is None else read_task_of(told, identifier)


def _news_in(answer: Mapping[str, object], identifier: str) -> tuple[AgentTask | None, Sequence[str], int]:
    reader = Reader(answer)
    lines = [clean(line, MAX_TEXT_CHARS) for line in reader.items("output", MAX_ITEMS)]
    return _task_in(answer, identifier), lines, reader.number("offset", 0, _MAX_OFFSET)
