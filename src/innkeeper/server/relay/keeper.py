"""Keep the directory current: what this server sees of its hosts is written down for the others."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog

from innkeeper.errors import InnkeeperError
from innkeeper.machines.asking import ask_all
from innkeeper.machines.directory import Directory, HostEntry, MachineEntry
from innkeeper.machines.ports.host import Host
from innkeeper.machines.service import Machines
from innkeeper.server.board import Board, Notice
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.waiting import Signal
from innkeeper.wire.events import Event, EventGroup, EventKind

_log = structlog.get_logger(__name__)

#: Changes within this time are written together.
_GATHER_SECONDS: Final = 0.3
#: Looks take at most this part of the time: with many machines they are rarer.
_MOST_OF_THE_TIME: Final = 0.02
#: What no event tells of is seen by then.
_LOOK_SECONDS: Final = 15.0
#: For so long a host's facts are believed.
_FACTS_SECONDS: Final = 60.0
#: At the most so many rows in one transaction.
_ROWS: Final = 1000

#: Names and UUIDs of several hosts are looked for as often after news of machines that have come or gone.
_LOOKS_AFTER_NEWS: Final = 3

_NEWS: Final = frozenset(
    {EventKind.MACHINE_DEFINED, EventKind.MACHINE_UNDEFINED, EventKind.HOST_CONNECTED, EventKind.HOST_LOST}
)
_CONCERNED: Final = frozenset({EventGroup.MACHINE, EventGroup.HOST, EventGroup.AGENT, EventGroup.TASK})


class DirectoryKeeper:
    """Writes the machines and hosts of this server into the directory, each row when it has changed."""

    def __init__(
        self,
        *,
        board: Board,
        machines: Machines,
        directory: Directory,
        server: str,
        clock: Clock,
        facts_of: Callable[[Host], Awaitable[str]],
        on_names: Callable[[], None] = lambda: None,
    ) -> None:
        """``facts_of`` asks a host for its facts, as JSON; ``server`` is this server's name.

        ``on_names`` is called when a machine's name has become that of several, or its own again.
        """
        self._board = board
        self._machines = machines
        self._directory = directory
        self._server = server
        self._clock = clock
        self._facts_of = facts_of
        self._on_names = on_names
        #: So many more looks follow news of machines that have come or gone, here or at another server.
        self._looks_left = 1
        self._shared_seen_at = float("-inf")
        self._changed = Signal(is_set=True)
        #: Machines that have come, by what they can be asked for by.
        self._come: dict[str, None] = {}
        self._has_come = Signal()
        #: When machines were written down as they came, by their keys and the board's clock: until a look
        #: that began after it has seen to them.
        self._announced: dict[str, float] = {}
        #: What is written down of the machines of each host that was looked after, by the host's id.
        self._written: dict[str, dict[str, tuple[Notice | None, MachineEntry]]] = {}
        #: When each of these hosts came, by the board's clock.
        self._came_at: dict[str, float] = {}
        self._hosts: dict[str, HostEntry] = {}
        self._hosts_seen_at = float("-inf")

    def on_event(self, event: Event) -> None:
        """Note that something may have changed (a ``Publish``)."""
        if event.kind.group in _CONCERNED:
            self._changed.set()
        if event.kind is EventKind.MACHINE_DEFINED and not self._machines.places.is_written(event.about):
            self._come[event.about] = None
            self._has_come.set()
        self.on_event_elsewhere(event)

    def on_event_elsewhere(self, event: Event) -> None:
        """Note that machines may have come or gone, whose names others have too."""
        if event.kind in _NEWS:
            self._looks_left = _LOOKS_AFTER_NEWS
            self._changed.set()

    async def run(self) -> None:
        """Keep the directory current while the service runs."""
        pause = _GATHER_SECONDS
        while True:
            await self._changed.wait_within(self._clock, _LOOK_SECONDS)
            await self._clock.sleep(pause)
            self._changed.clear()
            began = self._clock.monotonic()
            try:
                await self.look()
            except InnkeeperError as error:
                _log.warning("directory.look_failed", error=error.sentence)
            took = self._clock.monotonic() - began
            pause = min(max(_GATHER_SECONDS, took / _MOST_OF_THE_TIME), _LOOK_SECONDS)

    async def write_what_comes(self) -> None:
        """Write down each machine that comes at once, while the service runs: others may have its name."""
        while True:
            await self._has_come.wait()
            self._has_come.clear()
            come, self._come = self._come, {}
            for reference in come:
                await self.announce(reference)

    async def announce(self, reference: str) -> None:
        """Write down a machine that has come, by any reference to it; it is in the directory afterwards.

        A look that is under way may know nothing of it, and leaves it; the next one writes it once more,
        or sees that it has gone. What fails is left to that.
        """
        try:
            notice = await self._board.anew(reference)
            self._announced[notice.machine.key] = self._board.now()
            await self._directory.update([entry_of(notice)], ())
        except InnkeeperError as error:
            _log.info("directory.not_announced", machine=reference, error=error.sentence)

    async def look(self) -> None:
        """Write down what has changed since the last look."""
        # Of one that was never met nothing is known that others could call it by.
        hosts = {host.id: host for host in self._machines.hosts.values() if host.id}
        await self._know(hosts)
        # Before the hosts are asked, of which one may hang: roles go by names.
        await self._look_at_names()
        if hosts.keys() != self._hosts.keys() or self._facts_age >= _FACTS_SECONDS:
            await self._look_at_hosts(hosts)
        notices = await self._board.all()
        # At once, since the board may begin another look while this one is written down.
        looked_for = {key: at for key, at in self._announced.items() if self._has_looked_for(key, at, hosts)}
        # A host that has come since the last look has its machines still, though none was seen yet.
        seen: dict[str, dict[str, Notice]] = {
            number: {}
            for number, host in hosts.items()
            if self._board.has_listed(host.name, since=self._came_at[number])
        }
        for notice in notices:
            if (of_host := seen.get(notice.machine.host_id)) is not None:
                of_host[notice.machine.key] = notice
        for number, found in seen.items():
            await self._write(number, found, looked_for)

    def _has_looked_for(self, key: str, at: float, hosts: Mapping[str, Host]) -> bool:
        """Whether a machine's host has answered a look that began after the machine was announced."""
        host = hosts.get(key.partition("/")[0])
        return host is not None and self._board.has_listed(host.name, since=at)

    @property
    def _facts_age(self) -> float:
        return self._clock.monotonic() - self._hosts_seen_at

    async def _know(self, hosts: Mapping[str, Host]) -> None:
        """Read what is written down of hosts that are new here; forget those that are others' now."""
        for number in self._written.keys() - hosts.keys():
            del self._written[number], self._came_at[number]
            self._hosts.pop(number, None)
        for number in hosts.keys() - self._written.keys():
            entries = await self._directory.of_host(number)
            self._written[number] = {entry.key: (None, entry) for entry in entries}
            self._came_at[number] = self._board.now()
            self._board.look_again()
            self._changed.set()

    async def _look_at_names(self) -> None:
        """See which names and UUIDs others have too: what has come is written down a moment later."""
        if not self._looks_left and self._clock.monotonic() - self._shared_seen_at < _LOOK_SECONDS:
            return
        self._looks_left = max(self._looks_left - 1, 0)
        self._shared_seen_at = self._clock.monotonic()
        if await self._machines.hear_elsewhere():
            self._board.look_again()
            self._on_names()
        if self._looks_left:
            self._changed.set()

    async def _write(
        self, host_id: str, found: Mapping[str, Notice], looked_for: Mapping[str, float]
    ) -> None:
        written = self._written[host_id]
        come = {key for key in looked_for if key.startswith(f"{host_id}/")}
        unseen = {key for key, at in self._announced.items() if looked_for.get(key) != at}
        gone = (written.keys() | come) - found.keys() - unseen
        changed: list[tuple[Notice, MachineEntry]] = []
        for key, notice in found.items():
            known = written.get(key)
            if known is not None and known[0] is notice:
                continue
            entry = entry_of(notice)
            if known is not None and known[1] == entry:
                written[key] = notice, entry
            else:
                changed.append((notice, entry))
        for start in range(0, max(len(changed), bool(gone)), _ROWS):
            rows = changed[start : start + _ROWS]
            await self._directory.update([entry for _, entry in rows], gone if start == 0 else ())
            for notice, entry in rows:
                written[entry.key] = notice, entry
        for key in gone:
            written.pop(key, None)
        for key in come:
            if self._announced.get(key) == looked_for[key]:
                del self._announced[key]
        self._machines.places.written((key, notice.machine.name) for key, notice in found.items())

    async def _look_at_hosts(self, hosts: Mapping[str, Host]) -> None:
        answers = await ask_all(hosts.values(), self._facts_of)
        now, known = self._clock.now(), {}
        if answers.missing:
            known = {host.host_id: host for host in await self._directory.hosts()}
        entries = [
            self._host_entry(host, known.get(number), answers.given, answers.missing, now)
            for number, host in hosts.items()
        ]
        await self._directory.put_hosts(
            [entry for entry in entries if self._hosts.get(entry.host_id) != entry]
        )
        self._hosts = {entry.host_id: entry for entry in entries}
        self._hosts_seen_at = self._clock.monotonic()

    def _host_entry(
        self,
        host: Host,
        known: HostEntry | None,
        given: Mapping[str, str],
        missing: Mapping[str, InnkeeperError],
        now: dt.datetime,
    ) -> HostEntry:
        fresh = HostEntry(host_id=host.id, name=host.name, uri=host.uri, server=self._server)
        if host.name in given:
            return dataclasses.replace(fresh, facts=given[host.name], seen_at=now)
        reason = missing[host.name].sentence if host.name in missing else ""
        if known is None:
            return dataclasses.replace(fresh, reason=reason)
        return dataclasses.replace(fresh, facts=known.facts, seen_at=known.seen_at, reason=reason)


def entry_of(notice: Notice) -> MachineEntry:
    """Return a machine as it stands in the directory."""
    machine = notice.machine
    return MachineEntry(
        key=machine.key,
        host_id=machine.host_id,
        host=machine.host,
        name=machine.name,
        uuid=machine.uuid,
        state=machine.state,
        labels=machine.labels,
        summary=notice.message().model_dump_json(),
    )
