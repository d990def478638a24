"""Task agents of all running machines, and kits for the guests that have none."""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections.abc import Callable

from innkeeper.channels.kits.asking import KitAnswers
from innkeeper.channels.kits.kit import Kit, kit_for, refuse_blocked
from innkeeper.channels.kits.ports import FindCommands, GuestCommands, Running
from innkeeper.channels.kits.session import KitHello, KitSession, read_kit_hello
from innkeeper.channels.ports import GuestAgent, GuestAgents
from innkeeper.channels.statements import Unbelievable
from innkeeper.errors import AgentError, AgentQuarantined, AgentSilent, InnkeeperError
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.supervision import Loops
from innkeeper.tasks.waiting import Outrun, Signal, unless
from innkeeper.wire.events import Event, EventGroup, EventKind, Publish
from innkeeper.wire.states import GuestWay

_HELLO_S = 60.0
#: How long a task agent is waited for before a kit is tried again.
_TURN_S = 2.0
#: A guest that has a task agent is left to it for so long: it may be about to come back.
_LEFT_TO_AGENT_S = 120.0
#: How long the answer to a greeting is news, where nobody waited for it any more.
_NEWS_S = 5.0
#: How often guests are looked at that answer, and that do not, at first and at most.
_PING_S, _FIRST_RETRY_S, _LAST_RETRY_S = 30.0, 3.0, 120.0
#: Which machines are looked at is decided so often, and soon after an event.
_LOOK_S, _SOON_S = 5.0, 0.5
#: Guests that are asked at once.
_AT_ONCE = 8


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Greeted:
    """A kit that has answered a greeting."""

    answers: KitAnswers
    hello: KitHello
    at: float


@dataclasses.dataclass(slots=True)
class _Guest:
    """What is known of a guest without a session of a task agent."""

    kit: Kit | None = None
    #: The greeting under way, or the last one: whoever comes meanwhile waits for the same.
    greeting: asyncio.Future[_Greeted | None] | None = None
    #: Whether its kit did not answer when it was last greeted: being there is no answer then.
    must_greet: bool = False
    #: Whether a kit answers in it, or would.
    answers: bool = False
    #: The boot in which its kit answered last; empty where none was asked.
    boot_id: str = ""
    #: Why it does not.
    error: AgentError | None = None
    limits: tuple[str, ...] = ()
    due: float = 0.0
    retry_s: float = _FIRST_RETRY_S
    #: Until when only a task agent will do.
    left_to_agent: float = -math.inf
    lock: asyncio.Lock = dataclasses.field(default_factory=asyncio.Lock)


class KitAgents:
    """Sessions with the guests of all running machines (``GuestAgents``): by their task agents, or by kits.

    A task agent wins wherever one is. ``on_event`` takes the house's events.
    """

    def __init__(
        self,
        agents: GuestAgents,
        *,
        find: FindCommands,
        running: Running,
        clock: Clock,
        publish: Publish,
        called: Callable[[str], str] = str,
        loops: Loops | None = None,
    ) -> None:
        self._agents = agents
        self._find = find
        self._running = running
        self._clock = clock
        self._publish = publish
        self._called = called
        self._loops = loops or Loops(clock)
        self._guests: dict[str, _Guest] = {}
        self._changed = Signal()
        self._looking: asyncio.Task[None] | None = None
        self._slots = asyncio.Semaphore(_AT_ONCE)

    # Life

    async def open(self) -> None:
        """Look who answers, now and until ``close``."""
        self._looking = self._loops.start("guests without an agent", self._look_again_and_again)

    async def close(self) -> None:
        """End the looking, and what is being asked."""
        greetings = [guest.greeting for guest in self._guests.values()]
        ended = [one for one in (self._looking, *greetings) if one is not None]
        for one in ended:
            one.cancel()
        await asyncio.gather(*ended, return_exceptions=True)

    def on_event(self, event: Event) -> None:
        """Look again at a machine to which something has happened (a ``Publish``)."""
        if event.kind.group is EventGroup.MACHINE:
            if (guest := self._guests.get(event.about)) is not None:
                guest.due, guest.retry_s = 0.0, _FIRST_RETRY_S
            self._changed.set()

    # Questions

    @property
    def task_agents(self) -> GuestAgents:
        """The task agents, without the kits that stand in for them."""
        return self._agents

    async def connected(
        self, machine: str, *, timeout: float, other_boot_than: str = "", told: float | None = None
    ) -> GuestAgent:
        """Return a live session, or raise ``AgentError`` when none came in ``timeout`` seconds."""
        give_up = self._clock.monotonic() + timeout
        told = timeout if told is None else told
        while True:
            left = max(0.0, give_up - self._clock.monotonic())
            if not self._agents.is_connected(machine):
                session = await self._session(machine, min(left, _TURN_S))
                if session is not None and session.hello.boot_id != other_boot_than:
                    return session
                left = max(0.0, give_up - self._clock.monotonic())
            turn_s = left if self._agents.is_connected(machine) else min(left, _TURN_S)
            try:
                return await self._agents.connected(
                    machine, timeout=turn_s, other_boot_than=other_boot_than, told=told
                )
            except AgentQuarantined:
                raise
            except AgentError as silent:
                if left <= turn_s:
                    raise self._both(machine, silent) from silent

    def is_connected(self, machine: str) -> bool:
        """Whether somebody in the guest answers now, as far as is known."""
        return self.way(machine) is not None

    def way(self, machine: str) -> GuestWay | None:
        """How the guest is reached now."""
        if self._agents.is_connected(machine):
            return GuestWay.TASK_AGENT
        guest = self._guests.get(machine)
        return GuestWay.QEMU_GUEST_AGENT if guest is not None and guest.answers else None

    def silence(self, machine: str) -> AgentError | None:
        """Why nobody in the guest answers, where more is known than that."""
        guest = self._guests.get(machine)
        if guest is None or self.is_connected(machine) or isinstance(guest.error, AgentSilent):
            return None
        return guest.error

    def limits(self, machine: str) -> tuple[str, ...]:
        """What cannot be done or told in this guest as it is reached now, a sentence each."""
        guest = self._guests.get(machine)
        return guest.limits if guest is not None and self.way(machine) is GuestWay.QEMU_GUEST_AGENT else ()

    def heartbeat(self, machine: str) -> int | None:
        """Percent of the task agent's heartbeats of the last minute."""
        return self._agents.heartbeat(machine)

    # Machinery

    async def _session(self, machine: str, seconds: float) -> KitSession | None:
        """A session with the guest's kit, where there is one to be had in so many seconds.

        A greeting that takes longer goes on, and is there for whoever asks next.
        """
        guest = self._guests.setdefault(machine, _Guest())
        try:
            greeted = await unless(asyncio.shield(self._greeting(machine, guest)), self._clock.sleep(seconds))
        except Outrun:
            return None
        guest.greeting = None  # an answer is one caller's: the guest may be in another boot by the next
        return None if greeted is None else KitSession(greeted.answers, greeted.hello, self._clock)

    def _greeting(self, machine: str, guest: _Guest) -> asyncio.Future[_Greeted | None]:
        """The greeting of a guest that is under way, or was answered while nobody waited, or a new one."""
        if guest.greeting is None or (guest.greeting.done() and not self._is_news(guest.greeting)):
            guest.greeting = asyncio.ensure_future(self._meet(machine, guest))
        return guest.greeting

    def _is_news(self, greeting: asyncio.Future[_Greeted | None]) -> bool:
        if greeting.cancelled() or greeting.exception() is not None:
            return False
        greeted = greeting.result()
        return greeted is not None and self._clock.monotonic() < greeted.at + _NEWS_S

    async def _meet(self, machine: str, guest: _Guest) -> _Greeted | None:
        """Greet a guest, and note what came of it."""
        try:
            if self._clock.monotonic() < guest.left_to_agent:
                return None
            commands = await self._find(machine)
            if commands is None:
                return None
            async with guest.lock:
                greeted = await self._greet(machine, guest, commands)
        except InnkeeperError as error:
            if self._guests.get(machine) is not guest:
                return None  # the machine was stopped meanwhile
            guest.must_greet = not isinstance(error, AgentSilent)
            self._lose(machine, self._reason(machine, error))
            return None
        if self._guests.get(machine) is not guest:
            return None
        guest.must_greet = False
        self._note(machine, guest, guest.kit, greeted.hello)
        return greeted

    async def _greet(self, machine: str, guest: _Guest, commands: GuestCommands) -> _Greeted:
        name = self._called(machine)
        answers = KitAnswers(name, await self._kit_of(machine, guest, commands), commands)
        try:
            greeting = read_kit_hello(await answers.ask("hello", timeout=_HELLO_S))
        except Unbelievable as lie:
            raise answers.liar(lie) from lie
        if commands.has_agent_port and greeting.has_task_agent:
            guest.left_to_agent = self._clock.monotonic() + _LEFT_TO_AGENT_S
            raise AgentError(
                f"The task agent is installed in the guest of {name}, and does not answer.",
                machine=name,
                advice=f"See why, or install it anew: innkeeper machine prepare {name} --force",
                way_out=f"innkeeper machine prepare {name} --force",
            )
        return _Greeted(answers=answers, hello=greeting, at=self._clock.monotonic())

    async def _kit_of(self, machine: str, guest: _Guest, commands: GuestCommands) -> Kit:
        """The kit that the guest would take. Raises ``AgentError`` where it can be given none."""
        if guest.kit is None:
            name = self._called(machine)
            refuse_blocked(name, await commands.allowed())
            guest.kit = await asyncio.to_thread(kit_for, name, await commands.facts())
        return guest.kit

    async def _recognize(self, machine: str, guest: _Guest) -> None:
        """See whether a kit would answer. Nothing is put into a guest that nobody wants anything of.

        One that was given a port for the task agent has been prepared for Innkeeper, and is asked itself:
        whether the agent is installed; and so is one whose kit did not answer when it was wanted.
        """
        commands = await self._find(machine)
        if commands is None or commands.has_agent_port or guest.must_greet:
            await asyncio.shield(self._greeting(machine, guest))
            guest.greeting = None
        elif self._clock.monotonic() >= guest.left_to_agent:
            async with guest.lock:
                kit = await self._kit_of(machine, guest, commands)
            self._note(machine, guest, kit)

    def _note(self, machine: str, guest: _Guest, kit: Kit | None, greeting: KitHello | None = None) -> None:
        hello = None if greeting is None else greeting.hello
        boot_id, plugin = ("", "") if hello is None else (hello.boot_id, hello.plugin_name)
        is_news = not guest.answers or (bool(guest.boot_id) and guest.boot_id != boot_id)
        guest.answers, guest.boot_id, guest.error = True, boot_id, None
        guest.limits = greeting.limits if greeting is not None else kit.limits if kit is not None else ()
        if kit is not None and kit.has_task_agent:
            better = f"The task agent can do more: innkeeper machine prepare {self._called(machine)}"
            guest.limits = (*guest.limits, better)
        guest.due = self._clock.monotonic() + _PING_S
        if is_news and not self._agents.is_connected(machine):
            self._tell(EventKind.AGENT_CONNECTED, machine, boot_id=boot_id, plugin=plugin)

    def _lose(self, machine: str, error: AgentError | None) -> None:
        guest = self._guests.setdefault(machine, _Guest())
        had_answered, guest.answers, guest.boot_id = guest.answers, False, ""
        guest.kit, guest.error = None, error
        if had_answered:
            guest.due = self._clock.monotonic() + guest.retry_s
        if had_answered and not self._agents.is_connected(machine):
            self._tell(
                EventKind.AGENT_LOST,
                machine,
                reason="the machine does not run" if error is None else str(error),
            )

    def _tell(self, kind: EventKind, machine: str, **data: str) -> None:
        self._publish(Event(kind=kind, subject=machine, at=self._clock.now(), data=data))

    def _both(self, machine: str, silent: AgentError) -> AgentError:
        """Why neither a task agent nor a kit answers."""
        reason = self.silence(machine)
        if reason is None:
            return silent
        return AgentError(
            f"{silent.sentence} Nor does its guest answer through qemu-guest-agent: {reason.sentence}",
            machine=silent.machine,
            code=silent.code,
            advice=reason.advice,
            way_out=reason.way_out,
        )

    async def _look_again_and_again(self) -> None:
        while True:
            try:
                running = set(await self._running())
            except InnkeeperError:
                running = set(self._guests)  # a host that does not answer: its guests go on
            for machine in self._guests.keys() - running:
                self._lose(machine, None)
                del self._guests[machine]
            await asyncio.gather(*(self._visit(machine) for machine in running))
            if await self._changed.wait_within(self._clock, _LOOK_S):
                await self._clock.sleep(_SOON_S)

    async def _visit(self, machine: str) -> None:
        """Look at one guest, where it is its turn."""
        guest = self._guests.setdefault(machine, _Guest())
        now = self._clock.monotonic()
        if self._agents.is_connected(machine):
            guest.answers, guest.boot_id, guest.left_to_agent = False, "", now + _LEFT_TO_AGENT_S
            return
        if now < guest.due or guest.lock.locked():
            return
        guest.due, guest.retry_s = now + guest.retry_s, min(2 * guest.retry_s, _LAST_RETRY_S)
        async with self._slots:
            try:
                await (self._ping(machine, guest) if guest.answers else self._recognize(machine, guest))
            except InnkeeperError as error:
                self._lose(machine, self._reason(machine, error))

    async def _ping(self, machine: str, guest: _Guest) -> None:
        if (commands := await self._find(machine)) is not None:
            await commands.ping()
            guest.retry_s, guest.due = _FIRST_RETRY_S, self._clock.monotonic() + _PING_S

    def _reason(self, machine: str, error: InnkeeperError) -> AgentError:
        """Why a guest does not answer: it says so, or its host is away, or the machine is gone."""
        return (
            error
            if isinstance(error, AgentError)
            else AgentError(error.sentence, machine=self._called(machine))
        )
