"""Cache of machine descriptions as JSON, rebuilt only where something has changed."""

from __future__ import annotations

import asyncio
import bisect
import dataclasses
import datetime as dt
import itertools
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Final

from innkeeper.channels.ports import GuestAgents
from innkeeper.errors import InnkeeperError, MachineNotFound
from innkeeper.identity.roles import Role
from innkeeper.machines.asking import GATHERED_SECONDS
from innkeeper.machines.command import visible_state
from innkeeper.machines.machine import Machine
from innkeeper.machines.service import Machines, lock_of
from innkeeper.server.http.conditional import tag_of
from innkeeper.server.messages import machine_message, verdict_of
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.service import Tasks
from innkeeper.tasks.task import Task, TaskFilter
from innkeeper.updates.checks import Check, Checks
from innkeeper.wire.events import Event, EventGroup, EventKind
from innkeeper.wire.messages import MachineMessage
from innkeeper.wire.states import GuestWay, RollBack

#: Older than this, all hosts are asked again: beside the readers while they may wait no longer than …
_FRESH_SECONDS: Final = 2.0
#: … this, and before they are answered after it.
_STALE_SECONDS: Final = 5.0
#: A reader waits so long for them all; a list may have other questions to them.
_PATIENCE_SECONDS: Final = GATHERED_SECONDS / 2
#: So many machines are listed as often as that; more of them as much less often.
_FEW: Final = 5_000
#: So many are taken over before others are answered.
_AT_ONCE: Final = 500
#: With more changes than this at once, asking for all is cheaper than asking for each.
_MANY: Final = 50
_ALL: Final = 100_000
_MACHINE: Final = lock_of("")
_COMING_AND_GOING: Final = (EventKind.MACHINE_DEFINED, EventKind.MACHINE_UNDEFINED)


#: What a caller with this role on a machine may do with it, by ``operation_id``.
AllowedTo = Callable[[Role], tuple[str, ...]]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """One machine and its description as JSON for each role that has asked."""

    machine: Machine
    #: How its guest is reached; ``None`` where nobody in it answers.
    way: GuestWay | None
    task_id: int | None
    #: What was found when it was last looked at whether it can be maintained.
    check: Check | None = None
    #: What a roll back of an update would bring it back to.
    roll_back: RollBack | None = None
    #: When it was seen last, where its host does not answer; ``None`` where it does.
    as_of: dt.datetime | None = None
    _responses: dict[Role, tuple[bytes, str]] = dataclasses.field(
        default_factory=dict, compare=False, repr=False
    )

    def is_current(
        self,
        machine: Machine,
        way: GuestWay | None,
        task_id: int | None,
        check: Check | None,
        as_of: dt.datetime | None,
    ) -> bool:
        """Whether the cached description still matches the machine."""
        return (
            (self.machine is machine or self.machine == machine)
            and self.way is way
            and self.task_id == task_id
            and self.as_of == as_of
            and verdict_of(self.check) == verdict_of(check)
        )

    def response(self, role: Role, allowed: AllowedTo) -> tuple[bytes, str]:
        """Return the machine's JSON for a caller with this role, and its ETag."""
        if (known := self._responses.get(role)) is not None:
            return known
        body = self.message(allowed(role)).model_dump_json().encode()
        return self._responses.setdefault(role, (body, tag_of(body)))

    def message(self, allowed: tuple[str, ...] = ()) -> MachineMessage:
        """Return the machine as a message, with the operations that a caller may do with it."""
        return machine_message(
            self.machine,
            way=self.way,
            task_id=self.task_id,
            # Its own update is no obstacle to the next one: what holds it is shown instead.
            verdict=verdict_of(self.check if self.task_id is None else None),
            allowed=allowed,
            roll_back=self.roll_back,
            as_of=self.as_of,
        )


class Board:
    """Cache of the machines of all hosts, for reads that come again and again.

    Events say which have changed, and those alone are asked for; what no event tells of is seen within two
    seconds while somebody reads. Machines of a host that does not answer stay as they were seen last. Lives
    on the event loop.
    """

    def __init__(
        self,
        *,
        machines: Machines,
        agents: GuestAgents,
        tasks: Tasks,
        checks: Checks,
        roll_back_of: Callable[[Machine], RollBack],
        wall_clock: Clock,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``roll_back_of`` says what a roll back of an update would bring a machine back to.

        ``wall_clock`` says when hosts answered last.
        """
        self._wall_clock = wall_clock
        self._roll_back_of = roll_back_of
        self._machines = machines
        self._agents = agents
        self._tasks = tasks
        self._checks = checks
        self._clock = clock
        #: By the machines' keys.
        self._notices: dict[str, Notice] = {}
        #: Names, hosts and keys, by these …
        self._order: list[tuple[str, str, str]] = []
        #: … but for those that have come, gone or been renamed since.
        self._moved: set[str] = set()
        #: The task that holds each, and its kind: that tells more of a machine's state than its host does.
        self._holders: dict[str, tuple[int, str]] = {}
        self._changed: set[str] = set()
        #: What has changed since all hosts were last asked: their answer may be older than that.
        self._changed_since: set[str] = set()
        self._looked_at = float("-inf")
        #: The hosts that were asked last, and those that answered.
        self._looked_for: frozenset[str] = frozenset()
        #: Those that the last look which has come to its end was for.
        self._looked_through: frozenset[str] = frozenset()
        self._listed: frozenset[str] = frozenset()
        #: When each host here answered a look last.
        self._answered: dict[str, dt.datetime] = {}
        #: No machine has come or gone since.
        self._is_whole = False
        self._looking: asyncio.Task[None] | None = None
        self._mending = asyncio.Lock()
        #: Another number whenever anything on it has changed.
        self.version = 0

    def on_event(self, event: Event) -> None:
        """Mark what an event has made out of date."""
        if event.kind.group is EventGroup.TASK:
            self._heed_task(event)
        elif event.kind in _COMING_AND_GOING or event.kind.group is EventGroup.HOST:
            self._is_whole = False
        elif event.kind.group is EventGroup.MACHINE:
            self._note(event.about)

    async def all(self) -> Sequence[Notice]:
        """Return every machine, by name and host."""
        await self._refresh()
        self._hear_agents()
        return [self._notices[key] for _, _, key in self._order]

    async def look_first(self) -> None:
        """Wait for the first look at each host: before it none of its machines is known by its names."""
        while self._looked_at == float("-inf") or not self._looked_through.issuperset(self._machines.hosts):
            await asyncio.shield(self._look())

    async def count(self) -> int:
        """Return how many machines there are."""
        await self._refresh()
        return len(self._order)

    async def behind(self, place: tuple[str, str] | None) -> Iterator[Notice]:
        """Iterate over the machines by name and host, from behind a place on; not across a wait."""
        await self._refresh()
        order = self._order
        first = 0 if place is None else bisect.bisect_right(order, place, key=lambda each: each[:2])
        return (self._hear_agent(self._notices[key]) for _, _, key in itertools.islice(order, first, None))

    async def one(self, name: str) -> Notice:
        """Return one machine, by any reference to it. Raises ``MachineNotFound`` or ``MachineAmbiguous``."""
        await self._refresh()
        if notice := self._notice(name):
            return self._hear_agent(notice)
        return await self.anew(name)

    async def anew(self, name: str) -> Notice:
        """Return one machine, asked for alone. Raises ``MachineNotFound`` or ``MachineAmbiguous``."""
        return self._put(await self._machines.get(name))

    def known(self, name: str) -> Machine | None:
        """Return a machine as it was last seen; nothing for an unknown one, or a name of several."""
        notice = self._notice(name)
        return None if notice is None else notice.machine

    def with_key(self, key: str) -> Machine | None:
        """Return the machine with this key, as it was last seen."""
        notice = self._notices.get(key)
        return None if notice is None else notice.machine

    def _notice(self, reference: str) -> Notice | None:
        found = self._machines.places.resolve(reference)
        return self._notices.get(found[0].key) if len(found) == 1 else None

    def _heed_task(self, event: Event) -> None:
        lock = event.data.get("lock")
        if not isinstance(lock, str) or not lock.startswith(_MACHINE):
            return
        if event.kind is EventKind.TASK_ENDED:
            self._holders.pop(lock, None)
        else:
            self._holders[lock] = int(event.subject), str(event.data.get("kind") or "")
        self._note(lock.removeprefix(_MACHINE))

    def _note(self, name: str) -> None:
        self._changed.add(name)
        self._changed_since.add(name)

    def now(self) -> float:
        """Return the present moment, by the clock of looks at all hosts."""
        return self._clock()

    def has_listed(self, host: str, *, since: float) -> bool:
        """Whether a host has answered a look at all hosts that began after a moment."""
        return host in self._listed and self._looked_at >= since

    @property
    def met(self) -> Collection[str]:
        """The ids of the hosts here that have answered a look: of others here it has no machines."""
        return {host.id for name, host in self._machines.hosts.items() if name in self._answered}

    def look_again(self) -> None:
        """Believe nothing of what was seen: machines have become namesakes, or are so no longer."""
        self._is_whole = False

    # Keeping up

    async def _refresh(self) -> None:
        if self._looked_for != frozenset(self._machines.hosts):
            self._is_whole = False  # a host that another server may have now, or that came from one
        age = self._clock() - self._looked_at if self._is_whole else float("inf")
        # A list of many machines is long in coming: events tell of most changes, and the rest waits longer.
        patience = max(1.0, len(self._order) / _FEW)
        if age > patience * _FRESH_SECONDS or len(self._changed) > patience * _MANY:
            looking = self._look()
            if age > patience * _STALE_SECONDS or len(self._changed) > patience * _MANY:
                await self._wait_for(looking)
        if self._changed or self._mending.locked():
            async with self._mending:
                await self._mend()
        self._sort()

    async def _wait_for(self, looking: asyncio.Task[None]) -> None:
        """Wait for a look; while a host hangs, all are as they were seen last."""
        was_seen = self._looked_through.issuperset(self._machines.hosts)
        done, _ = await asyncio.wait({looking}, timeout=_PATIENCE_SECONDS if was_seen else None)
        for look in done:
            look.result()

    def _look(self) -> asyncio.Task[None]:
        """List the machines of all hosts; readers who come meanwhile share the answer."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_at_all(), name="board")
        return self._looking

    async def _look_at_all(self) -> None:
        began, at, self._is_whole = self._clock(), self._wall_clock.now(), True
        self._looked_for = hosts = frozenset(self._machines.hosts)
        self._changed.clear()
        self._changed_since.clear()
        try:
            machines = await self._machines.everything()
            listed = self._machines.listed
            live = await self._tasks.list(TaskFilter(live=True, limit=_ALL))
        except BaseException:
            self._is_whole = False
            raise
        self._hold(live)
        seen: set[str] = set()
        for number, machine in enumerate(machines):
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
            seen.add(self._put(machine).machine.key)
        # With the order, which readers go by, and no wait in between.
        self._answered |= dict.fromkeys(listed, at)
        self._answered = {name: at for name, at in self._answered.items() if name in self._machines.hosts}
        for key in [key for key in self._notices if key not in seen]:
            self._keep_or_forget(key, listed)
        self._changed |= self._changed_since
        self._sort()
        self._looked_at, self._looked_through, self._listed = began, hosts, listed

    def _hold(self, live: Iterable[Task]) -> None:
        """Take over the store's list of live tasks, except where an event has reported something newer."""
        newer = {lock_of(name) for name in self._changed_since}
        found = {task.lock: (task.id, task.kind) for task in live if task.lock is not None}
        response = {lock: held for lock, held in self._holders.items() if lock in newer}
        self._holders = {lock: held for lock, held in found.items() if lock not in newer} | response

    async def _mend(self) -> None:
        """Read again what has changed."""
        changed, self._changed = self._changed, set()
        for name in changed:
            try:
                machine = await self._machines.get(name)
            except MachineNotFound:
                self._forget(name)
            except InnkeeperError:
                self._is_whole = False
            else:
                self._put(machine)
        self._sort()

    def _keep_or_forget(self, key: str, listed: Collection[str]) -> None:
        """Keep a machine as it was seen last while its host is here, and does not answer."""
        machine = self._notices[key].machine
        if machine.host in listed or machine.host not in self._answered:
            self._forget(key)
        else:
            self._put(machine, as_of=self._answered[machine.host])

    def _forget(self, name: str) -> None:
        if self._notices.pop(name, None) is not None:
            self._moved.add(name)

    def _sort(self) -> None:
        """Put into order what has come or been renamed, and leave out what has gone."""
        if self._moved:
            moved, self._moved = self._moved, set()
            kept = [place for place in self._order if place[2] not in moved]
            come = (_place(self._notices[key]) for key in moved if key in self._notices)
            # Nearly in order, which costs little.
            self._order = sorted([*kept, *sorted(come)])
            self.version += 1

    # One notice

    def _put(self, machine: Machine, *, as_of: dt.datetime | None = None) -> Notice:
        key = machine.key
        task_id, kind = self._holders.get(lock_of(key), (None, None))
        state = visible_state(machine.state, kind)
        if state is not machine.state:
            machine = dataclasses.replace(machine, state=state)
        way = self._agents.way(key)
        known = self._notices.get(key)
        check = self._checks.last(key)
        if known is not None and known.is_current(machine, way, task_id, check, as_of):
            return known
        notice = Notice(
            machine=machine,
            way=way,
            task_id=task_id,
            check=check,
            roll_back=self._roll_back_of(machine),
            as_of=as_of,
        )
        if known is None or _place(known) != _place(notice):
            self._moved.add(key)
        self._notices[key] = notice
        self.version += 1
        return notice

    def _hear_agent(self, notice: Notice) -> Notice:
        machine = notice.machine
        same_check = self._checks.last(machine.key) is notice.check
        if same_check and self._agents.way(machine.key) is notice.way:
            return notice
        return self._put(machine, as_of=notice.as_of)

    def _hear_agents(self) -> None:
        for notice in list(self._notices.values()):
            self._hear_agent(notice)


def _place(notice: Notice) -> tuple[str, str, str]:
    return notice.machine.name, notice.machine.host, notice.machine.key
