"""Sessions with the task agents of all running machines."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Collection

import structlog

from innkeeper.channels.allowance import Offences
from innkeeper.channels.heartbeat import HeartbeatCounter
from innkeeper.channels.link import DEFAULT_PACE, Link, Pace, Surroundings
from innkeeper.channels.ports import GuestAgent, OnBooking, OpenPort
from innkeeper.channels.receipts import Receipts
from innkeeper.channels.session import AgentSession
from innkeeper.channels.throttle import Processor
from innkeeper.errors import AgentError, AgentQuarantined, ErrorCode, InnkeeperError
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.supervision import Loops
from innkeeper.tasks.waiting import Signal, within
from innkeeper.wire.events import Event, EventGroup, EventKind, Publish
from innkeeper.wire.states import GuestWay

_log = structlog.get_logger(__name__)

#: The keys of the machines that run now.
Running = Callable[[], Awaitable[Collection[str]]]
#: What people call the machine with this key.
Called = Callable[[str], str]

_FIRST_QUARANTINE_S = 60.0
_LONGEST_QUARANTINE_S = 3600.0
_FIRST_RETRY_S = 1.0
_LONGEST_RETRY_S = 30.0
#: Changes of machines within this time are looked at together.
_LOOK_S = 0.2
#: The list of running machines is looked at so often, should an event be lost.
_LOOK_AGAIN_S = 60.0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Needs:
    """Dependencies of every keeper."""

    open_port: OpenPort
    running: Running
    on_booking: OnBooking
    called: Called
    clock: Clock
    publish: Publish
    processor: Processor
    pace: Pace


class Agents:
    """The task agents of all running machines (``GuestAgents``).

    A keeper for each running machine opens its port and makes sessions over it. ``on_event`` takes the
    house's events; any event of a machine makes it look again at which machines run.
    """

    def __init__(
        self,
        *,
        open_port: OpenPort,
        running: Running,
        on_booking: OnBooking,
        clock: Clock,
        publish: Publish,
        called: Called = str,
        pace: Pace = DEFAULT_PACE,
        processor: Processor | None = None,
        loops: Loops | None = None,
    ) -> None:
        self._loops = loops or Loops(clock)
        self._needs = Needs(
            open_port=open_port,
            running=running,
            on_booking=on_booking,
            called=called,
            clock=clock,
            publish=publish,
            processor=processor or Processor(clock),
            pace=pace,
        )
        self._keepers: dict[str, Keeper] = {}
        self._changed = Signal()
        self._looking: asyncio.Task[None] | None = None

    # Life

    async def open(self) -> None:
        """Start keeping sessions, now and until ``close``."""
        self._changed.set()
        self._looking = self._loops.start("agents", self._look_again_and_again)

    async def close(self) -> None:
        """End all sessions."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await asyncio.gather(*(keeper.stop() for keeper in self._keepers.values()))
        self._keepers.clear()

    def on_event(self, event: Event) -> None:
        """Handle an event (a ``Publish``)."""
        if event.kind.group is EventGroup.MACHINE:
            keeper = self._keepers.get(event.about)
            if keeper is not None:
                keeper.hurry()
            self._changed.set()

    # Questions

    async def connected(
        self, machine: str, *, timeout: float, other_boot_than: str = "", told: float | None = None
    ) -> GuestAgent:
        """Return a live session, or raise ``AgentError`` when none came in ``timeout`` seconds.

        Raises ``AgentQuarantined`` at once for a guest that is being left alone.
        """
        self._changed.set()
        waiting = _Waiting(self._keepers, machine, self._needs.called(machine), other_boot_than)
        deadline = self._needs.clock.monotonic() + timeout
        while (session := waiting.look()) is None:
            left = deadline - self._needs.clock.monotonic()
            if left <= 0 or not await within(self._needs.clock, left, self._next_change(machine)):
                raise self._silent(machine, timeout if told is None else told)
        return session

    def is_connected(self, machine: str) -> bool:
        """Whether there is a live session now."""
        keeper = self._keepers.get(machine)
        return keeper is not None and keeper.session is not None

    def way(self, machine: str) -> GuestWay | None:
        """By the task agent, where it answers."""
        return GuestWay.TASK_AGENT if self.is_connected(machine) else None

    def silence(self, machine: str) -> AgentError | None:
        """Nothing more than that."""
        return None

    def limits(self, machine: str) -> tuple[str, ...]:
        """None: a task agent can do all that there is."""
        return ()

    def heartbeat(self, machine: str) -> int | None:
        """Percent of the heartbeats of the last minute; nothing before the first, or where it is off."""
        keeper = self._keepers.get(machine)
        return None if keeper is None else keeper.heartbeat.percent

    # Machinery

    def _next_change(self, machine: str) -> Awaitable[object]:
        keeper = self._keepers.get(machine)
        return self._needs.clock.sleep(_LOOK_S) if keeper is None else keeper.change()

    def _silent(self, machine: str, timeout: float) -> AgentError:
        keeper = self._keepers.get(machine)
        why = "the machine does not run" if keeper is None else keeper.reason
        name = self._needs.called(machine)
        return AgentError(
            f"The task agent of {name} did not answer within {timeout:g} seconds: {why}.",
            machine=name,
            code=None if keeper is None else keeper.code,
            advice=f"Run 'innkeeper machine prepare {name}' once, or look at the machine's console.",
        )

    async def _look_again_and_again(self) -> None:
        clock = self._needs.clock
        while True:
            await self._changed.wait_within(clock, _LOOK_AGAIN_S)
            await clock.sleep(_LOOK_S)
            self._changed.clear()
            try:
                await self._look()
            except InnkeeperError:
                # A host that does not answer keeps its keepers; the next look comes by itself.
                continue

    async def _look(self) -> None:
        running = set(await self._needs.running())
        for machine in running - self._keepers.keys():
            self._keepers[machine] = Keeper(machine, self._needs)
        gone = [self._keepers.pop(machine) for machine in self._keepers.keys() - running]
        await asyncio.gather(*(keeper.stop() for keeper in gone))


@dataclasses.dataclass(frozen=True, slots=True)
class _Waiting:
    """A caller that waits for a session of one machine."""

    keepers: dict[str, Keeper]
    machine: str
    name: str
    other_boot_than: str

    def look(self) -> AgentSession | None:
        """Return the session, if there is one of the right boot."""
        keeper = self.keepers.get(self.machine)
        if keeper is None:
            return None
        if keeper.is_quarantined:
            raise AgentQuarantined(
                f"The guest of {self.name} broke the agent's protocol too "
                "often and is ignored for a while: "
                f"{keeper.reason}.",
                machine=self.name,
                advice="Check what runs in the guest; its agent is accepted again after a while.",
            )
        session = keeper.session
        if session is None or session.hello.boot_id == self.other_boot_than:
            return None
        return session


class Keeper:
    """Keeps the link to one machine while it runs."""

    def __init__(self, machine: str, needs: Needs) -> None:
        self._machine = machine
        self._needs = needs
        self._offences = Offences(needs.clock)
        self._receipts = Receipts()
        self._hurry = Signal()
        self._change = asyncio.Event()
        self._quarantine_s = _FIRST_QUARANTINE_S
        #: The session there is now.
        self.session: AgentSession | None = None
        self.is_quarantined = False
        #: Its heartbeats.
        self.heartbeat = HeartbeatCounter(needs.clock)
        #: Why there is no session, and the documented identifier of that.
        self.reason = "no agent has answered yet"
        self.code: ErrorCode | None = None
        self._work = asyncio.create_task(self._run(), name=f"agent of {machine}")

    async def stop(self) -> None:
        """Close the link."""
        self._work.cancel()
        await asyncio.gather(self._work, return_exceptions=True)
        self._wake_waiting()

    def hurry(self) -> None:
        """Retry at once, since something happened to the machine."""
        self._hurry.set()

    def change(self) -> Awaitable[object]:
        """Return a future for the next change of the session or of the machine's state.

        Counted from this call, not from the first time it is awaited: nothing between the two is missed.
        """
        return self._change.wait()

    async def _run(self) -> None:
        retry_s = _FIRST_RETRY_S
        while True:
            # What happens to the machine while a link is tried counts too.
            self._hurry.clear()
            if await self._hold_link():
                retry_s = _FIRST_RETRY_S
            if self._offences.are_too_many:
                await self._quarantine()
            if await self._hurry.wait_within(self._needs.clock, retry_s):
                # The event may come before QEMU has made the port: a moment, never a busy loop.
                await self._needs.clock.sleep(_LOOK_S)
                retry_s = _FIRST_RETRY_S
            else:
                retry_s = min(2 * retry_s, _LONGEST_RETRY_S)

    async def _hold_link(self) -> bool:
        """Open the port and serve it to its end; returns whether that went well."""
        try:
            pipe = await self._needs.open_port(self._machine)
            try:
                await Link(pipe, self._surroundings()).run()
            finally:
                await pipe.close()
        except (InnkeeperError, OSError) as exc:
            self.reason = str(exc).rstrip(".")
            self.code = exc.code if isinstance(exc, InnkeeperError) else None
            return False
        except Exception as exc:  # The top of a task: whatever breaks one link must not end its keeping.
            self.reason = f"the link broke: {exc!r}"
            _log.exception("agent_link_broke", machine=self._needs.called(self._machine))
            return False
        return True

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            machine=self._machine,
            name=self._needs.called(self._machine),
            clock=self._needs.clock,
            on_booking=self._needs.on_booking,
            on_session=self._begin_session,
            on_heartbeat=self.heartbeat.beat,
            on_lost=self._lose_session,
            on_other_version=self._meet_other_version,
            offences=self._offences,
            receipts=self._receipts,
            processor=self._needs.processor,
            pace=self._needs.pace,
        )

    def _begin_session(self, session: AgentSession) -> None:
        self.session, self.code = session, None
        self.heartbeat.beat()
        self._tell(EventKind.AGENT_CONNECTED, boot_id=session.hello.boot_id, plugin=session.hello.plugin_name)

    def _lose_session(self, reason: str) -> None:
        self.session, self.reason = None, reason
        self._tell(EventKind.AGENT_LOST, reason=reason)

    def _meet_other_version(self, reason: str) -> None:
        # The agent is greeted again with the usual pauses: it may be replaced at any moment.
        self.reason, self.code = reason, ErrorCode.ERROR_REVISION_MISMATCH
        self._wake_waiting()

    async def _quarantine(self) -> None:
        """Leave the guest alone, longer each time."""
        self.is_quarantined, self.reason = True, self._offences.reason
        self._tell(EventKind.AGENT_QUARANTINED, reason=self.reason, seconds=self._quarantine_s)
        await self._needs.clock.sleep(self._quarantine_s)
        self._quarantine_s = min(2 * self._quarantine_s, _LONGEST_QUARANTINE_S)
        self._offences.forget()
        self.is_quarantined = False
        self._tell(EventKind.AGENT_RELEASED)

    def _tell(self, kind: EventKind, **data: str | float) -> None:
        now = self._needs.clock.now()
        self._needs.publish(Event(kind=kind, subject=self._machine, at=now, data=data))
        self._wake_waiting()

    def _wake_waiting(self) -> None:
        """Wake the callers that wait now, and none who comes later."""
        change, self._change = self._change, asyncio.Event()
        change.set()
