"""Start an update in a guest and follow it to its end, across reboots and lost sessions."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from innkeeper.channels.ports import (
    AgentTask,
    GuestAgent,
    GuestAgents,
    GuestMessage,
    GuestOutput,
    TaskStateChanged,
    UpdateStatus,
)
from innkeeper.errors import AgentError, AgentQuarantined, ErrorCode
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.waiting import Outrun, unless

#: How often a wait for a guest looks whether its machine still runs.
_LOOK_SECONDS = 10.0
#: A guest that says nothing is looked at after the first, and less and less often, down to the second.
_FIRST_LOOK_SECONDS, _QUIET_SECONDS = 8.0, 30.0
#: Between two tries, for one that fails at once.
_PAUSE_SECONDS = 0.5
#: So often the guest is asked to start an update, where no answer comes.
_TRIES = 3

#: Told of every state an update goes through.
OnState = Callable[[AgentTask], Awaitable[None]]
#: Told what the update prints.
OnOutput = Callable[[str], None]
#: Raises where the machine no longer runs, so that nobody waits for its guest.
CheckAlive = Callable[[], Awaitable[None]]


async def session(
    agents: GuestAgents,
    machine: str,
    *,
    clock: Clock,
    timeout: float,
    check_alive: CheckAlive,
    other_boot_than: str = "",
    told: float | None = None,
) -> GuestAgent:
    """A session as soon as the guest has one to give, looking now and then whether its machine runs.

    ``told`` is the time that it had in all, for the words, where ``timeout`` is what is left of it.
    """
    told = timeout if told is None else told
    give_up = clock.monotonic() + timeout
    while True:
        await check_alive()
        left = give_up - clock.monotonic()
        timeout_seconds = max(0.0, min(left, _LOOK_SECONDS))
        try:
            return await agents.connected(
                machine, timeout=timeout_seconds, other_boot_than=other_boot_than, told=told
            )
        except AgentQuarantined:
            raise
        except AgentError:
            if left <= _LOOK_SECONDS:
                raise
        await clock.sleep(_PAUSE_SECONDS)


class Follower:
    """Follows one update of one machine. ``REBOOTED`` is not the end of it."""

    def __init__(
        self,
        *,
        machine: str,
        title: str,
        identifier: str,
        attempt: str = "",
        agents: GuestAgents,
        clock: Clock,
        agent_seconds: float,
        poll_seconds: float,
        check_alive: CheckAlive,
        on_state: OnState,
        on_output: OnOutput,
    ) -> None:
        """``attempt`` is the host's run: only another one starts an update again that changed nothing."""
        self._attempt = attempt
        self._machine = machine
        self._title = title
        self._identifier = identifier
        self._agents = agents
        self._clock = clock
        self._agent_seconds = agent_seconds
        self._poll_seconds = poll_seconds
        self._check_alive = check_alive
        self._on_state = on_state
        self._on_output = on_output
        self._last: AgentTask | None = None
        #: Whether the guest said on the way that it reboots.
        self.saw_reboot = False

    async def run(self, label: str, context: bytes) -> AgentTask:
        """Start it, where the agent does not know it yet, and return its final state.

        Raises ``AgentError`` where the guest is lost for good.
        """
        agent = await self._session()
        task = await self._started(agent, label, context)
        while not task.status.is_final:
            try:
                task = await self._until_final(agent, task)
            except AgentError:
                agent, task = await self._found_again()
        await self._hear_out(agent)
        await self._tell(task)
        return task

    async def _hear_out(self, agent: GuestAgent) -> None:
        """Pass on what it printed last: a guest may not answer at its very end, and be back soon.

        One that does not come back has told how the update ended all the same.
        """
        give_up = self._clock.monotonic() + self._agent_seconds
        while True:
            try:
                async for line in agent.last_words(self._identifier):
                    self._on_output(line)
                return
            except AgentError:
                if self._clock.monotonic() >= give_up:
                    return
            await self._clock.sleep(_PAUSE_SECONDS)

    async def _started(self, agent: GuestAgent, label: str, context: bytes) -> AgentTask:
        """Start it; where an answer is lost, what has begun is found begun when it is asked again."""
        for _ in range(_TRIES - 1):
            try:
                return await agent.start_task(label, self._identifier, context, attempt=self._attempt)
            except AgentError:
                await self._clock.sleep(_PAUSE_SECONDS)
                agent = await self._session()
        return await agent.start_task(label, self._identifier, context, attempt=self._attempt)

    async def _found_again(self) -> tuple[GuestAgent, AgentTask]:
        """The update in a session that answers.

        The first one to be had may be the dying one, of a guest that reboots: it is not the last word.
        """
        give_up = self._clock.monotonic() + self._agent_seconds
        while True:
            agent = await self._session()
            try:
                return agent, await self._known(agent)
            except AgentError as error:
                if error.code is ErrorCode.ERROR_NOT_FOUND or self._clock.monotonic() >= give_up:
                    raise
            await self._clock.sleep(_PAUSE_SECONDS)

    async def _session(self) -> GuestAgent:
        return await session(
            self._agents,
            self._machine,
            clock=self._clock,
            timeout=self._agent_seconds,
            check_alive=self._check_alive,
        )

    async def _known(self, agent: GuestAgent) -> AgentTask:
        task = await agent.task(self._identifier)
        if task is None:
            raise AgentError(
                f"The task agent of {self._title} no longer knows the update it was given.",
                machine=self._machine,
                code=ErrorCode.ERROR_NOT_FOUND,
                advice="Look at the agent's log in the guest.",
            )
        return task

    async def _until_final(self, agent: GuestAgent, task: AgentTask) -> AgentTask:
        """Listen, and look now and then: a message may have been missed."""
        first = max(self._poll_seconds, _FIRST_LOOK_SECONDS)
        pause = first
        async with _heard(agent) as messages:
            while not task.status.is_final:
                await self._tell(task)
                message = await self._next(messages, pause)
                pause = first if message is not None else min(2 * pause, max(pause, _QUIET_SECONDS))
                if isinstance(message, TaskStateChanged) and message.task.identifier == self._identifier:
                    task = message.task
                elif isinstance(message, GuestOutput) and message.identifier == self._identifier:
                    self._on_output(message.text)
                elif message is None:
                    await self._check_alive()
                    task = await self._known(agent)
        return task

    async def _next(
        self, messages: asyncio.Queue[GuestMessage | None], seconds: float
    ) -> GuestMessage | None:
        """The next message, or ``None`` when none came for so long, or none will."""
        try:
            return await unless(messages.get(), self._clock.sleep(seconds))
        except Outrun:
            return None

    async def _tell(self, task: AgentTask) -> None:
        if task.status in (UpdateStatus.REBOOTING, UpdateStatus.REBOOTED):
            self.saw_reboot = True
        if task != self._last:
            self._last = task
            await self._on_state(task)


@contextlib.asynccontextmanager
async def _heard(agent: GuestAgent) -> AsyncIterator[asyncio.Queue[GuestMessage | None]]:
    """Collect the guest's messages in a queue, so that a wait for one can be given up without losing any.

    ``None`` is the last, when the session is lost.
    """
    messages: asyncio.Queue[GuestMessage | None] = asyncio.Queue(maxsize=1000)

    async def listen() -> None:
        with contextlib.suppress(AgentError):
            async for message in agent.messages():
                await messages.put(message)
        await messages.put(None)

    listening = asyncio.ensure_future(listen())
    try:
        yield messages
    finally:
        listening.cancel()
        await asyncio.wait({listening})
