"""A night of many simulated machines under several servers, which are killed on the way."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import datetime as dt
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import sqlalchemy as sa

from innkeeper.client import Inn, connect
from innkeeper.errors import InnkeeperError
from innkeeper.hypervisor.simulated.fleet import host_name
from innkeeper.hypervisor.simulated.guests import GuestDisk
from innkeeper.wire.events import Json
from innkeeper.wire.messages import MachineMessage, WindowRequest
from tests.store.clusters import Cluster, cpu_seconds_of

_IDENTIFIER = "night"
_START_SECONDS = 120.0
#: Until this long after the window's end, in real seconds, runs may still end.
_PATIENCE_SECONDS = 120.0
_LOOK_SECONDS = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a night is made of."""

    hosts: int
    #: The machines of each host.
    machines: int
    peers: int
    #: How many times faster than the real time the simulated one goes.
    speed: float
    #: A server is killed and started again each time so many simulated minutes have passed; never for 0.
    kill_minutes: float
    #: No more kills than these; ``None`` for as many as there is time for.
    most_kills: int | None = None
    #: How often PostgreSQL is restarted, at even parts of the work.
    database_restarts: int
    window_hours: float = 12.0
    #: For so many real seconds a killed server stays away.
    down_seconds: float = 0.0
    #: Servers in pairs have the same hosts: those of a killed one go to the other.
    shared: bool = False
    #: After so many real seconds a host leaves a server that shows no sign of life.
    lease_seconds: float = 30.0
    #: Of update runs at once on a host.
    slots: int = 4
    #: What the machines follow from.
    seed: int = 0
    #: A program before each server's own: a profiler.
    wrapper: Sequence[str] = ()

    def hosts_of(self, number: int) -> range:
        """The numbers of a peer's hosts, all of which together are shared out as evenly as they can be."""
        return range(number * self.hosts // self.peers + 1, (number + 1) * self.hosts // self.peers + 1)

    def reach_of(self, number: int) -> range:
        """The numbers of the hosts that a peer has in its settings."""
        if not self.shared:
            return self.hosts_of(number)
        first = number - number % 2
        return range(self.hosts_of(first).start, self.hosts_of(min(first + 1, self.peers - 1)).stop)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What became of a night."""

    machines: int
    verdicts: Mapping[str, int]
    #: Updates that were started outside of the window.
    outside: int
    #: Machines on which an update was done twice.
    doubled: int
    #: Bookings that still wait: the window had no room for them.
    waiting: int
    #: Updates that were begun and have no verdict, machines in another state than before, and undo disks left
    #: over.
    lost: int
    #: Acts on a host by a server that did not own it.
    overlaps: int
    #: Owners that hosts had, beyond the first of each.
    handovers: int
    kills: int
    #: Of servers, from the last booking to the last verdict; and of PostgreSQL.
    cpu_seconds: float
    database_cpu_seconds: float
    #: Of the largest server, ever.
    most_memory_mib: float
    real_seconds: float

    @property
    def cpu_seconds_a_machine(self) -> float:
        """Processor time of the servers for one machine."""
        return self.cpu_seconds / self.machines


class Peer:
    """One server, process after process."""

    def __init__(self, name: str, command: Sequence[str], state: Path) -> None:
        self.name = name
        self._command = command
        self._state = state
        self._process: subprocess.Popen[bytes] | None = None
        self._before = 0.0
        self._memory_kib = 0

    def start(self) -> None:
        """Start it, without waiting for it."""
        self._state.mkdir(parents=True, exist_ok=True)
        with (self._state / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def connect(self) -> Inn:
        """A connection to it, as soon as it answers. Raises ``AssertionError`` where it never does."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            with contextlib.suppress(InnkeeperError):
                return connect(socket=self._state / "s.sock")
            time.sleep(0.1)
        raise AssertionError(f"{self.name} did not start:\n{self.log[-4000:]}")

    def end(self, number: int) -> None:
        """Send a signal, and wait for the end."""
        assert self._process is not None
        self._memory_kib = max(self._memory_kib, self._kib_now())
        self._process.send_signal(number)
        _, _, used = os.wait4(self._process.pid, 0)
        self._process.returncode = 0
        self._process = None
        self._before += used.ru_utime + used.ru_stime
        self._memory_kib = max(self._memory_kib, used.ru_maxrss)

    @property
    def cpu_seconds(self) -> float:
        """Processor time of all of its processes."""
        running = self._process
        return self._before + (0.0 if running is None else cpu_seconds_of(running.pid))

    @property
    def memory_mib(self) -> float:
        """The most memory that one of its processes had."""
        return max(self._memory_kib, self._kib_now()) / 1024

    @property
    def log(self) -> str:
        """What it has logged."""
        return (self._state / "log").read_text()

    def _kib_now(self) -> int:
        if self._process is None:
            return 0
        status = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next((int(line.split()[1]) for line in status if line.startswith("VmHWM")), 0)


class FleetNight:
    """One night, from the first server's start to the count of what became of it."""

    def __init__(self, plan: Plan, directory: Path, cluster: Cluster, database: sa.URL) -> None:
        self._plan = plan
        self._fleet = directory / "fleet"
        self._cluster = cluster
        self._engine = sa.create_engine(database, pool_pre_ping=True)
        address = database.set(drivername="postgresql").render_as_string(hide_password=False)
        policy = directory / "night.toml"
        policy.write_text(f"lease_seconds = {plan.lease_seconds}\n[policy]\nslots = {plan.slots}\n")
        self.peers = [
            Peer(
                f"peer-{number + 1}",
                self._command(directory / f"peer-{number + 1}", address, policy, plan.reach_of(number)),
                directory / f"peer-{number + 1}",
            )
            for number in range(plan.peers)
        ]
        self._kills = 0

    def run(self) -> Outcome:
        """Live through the night."""
        for peer in self.peers:
            peer.start()
        try:
            states, opens, closes = self._evening()
            began = time.monotonic()
            before, database_before = self._cpu(), self._database_cpu()
            self._night(closes)
            after, database_after = self._cpu(), self._database_cpu()
            lost = self._misplaced(states)
            handovers = self._handovers()
            memory = max(peer.memory_mib for peer in self.peers)
        finally:
            self._engine.dispose()
            for peer in self.peers:
                with contextlib.suppress(AssertionError, OSError):
                    peer.end(signal.SIGTERM)
        ledger = [*self._lines("ledger")]
        started = [line for line in ledger if line["doing"] == f"update {_IDENTIFIER}"]
        verdicts, waiting = self._verdicts(), self._waiting()
        return Outcome(
            machines=len(states),
            verdicts=verdicts,
            outside=sum(not opens <= float(str(line["at"])) < closes for line in started),
            doubled=self._doubled(),
            waiting=waiting,
            lost=lost + verdicts.get("none", 0) - waiting,
            overlaps=sum(1 for _ in self._lines("overlaps")),
            handovers=handovers,
            kills=self._kills,
            cpu_seconds=after - before,
            database_cpu_seconds=database_after - database_before,
            most_memory_mib=memory,
            real_seconds=time.monotonic() - began,
        )

    # The parts of the night

    def _evening(self) -> tuple[dict[str, str], float, float]:
        """Book every machine at its own server, and open a window; the states before, and its times."""
        for peer in self.peers:
            peer.connect().close()
        states: dict[str, str] = {}
        for number, peer in enumerate(self.peers):
            own = set(map(host_name, self._plan.hosts_of(number)))
            with peer.connect() as inn:
                states |= {machine.name: machine.state.name for machine in self._machines_of(own, inn)}
                for host in sorted(own):
                    lines = inn.machines.select(f"host:{host}").book_updates(
                        label="Night", identifier=_IDENTIFIER
                    )
                    assert not [line for line in lines if line.code]
        with self.peers[0].connect() as inn:
            opens = inn.read().now.astimezone(dt.UTC).replace(second=0, microsecond=0)
            length = dt.timedelta(hours=self._plan.window_hours)
            inn.windows.add(
                WindowRequest(
                    name="night",
                    opens_at=opens.time(),
                    dates=(opens.date(),),
                    duration_seconds=int(length.total_seconds()),
                )
            )
        return states, opens.timestamp(), (opens + length).timestamp()

    def _machines_of(self, hosts: Collection[str], inn: Inn) -> Sequence[MachineMessage]:
        """The machines of these hosts, as soon as the server shows all: another may own them, or none yet."""
        wanted = len(hosts) * self._plan.machines
        deadline = time.monotonic() + _START_SECONDS
        while len(found := [each for each in inn.machines.list() if each.host in hosts]) < wanted:
            if time.monotonic() >= deadline:
                raise AssertionError(f"{len(found)} of {wanted} machines of {sorted(hosts)} are shown")
            time.sleep(0.5)
        return found

    def _night(self, closes: float) -> None:
        """Kill and restart until all have a verdict, or the window is long over."""
        wanted = self._plan.hosts * self._plan.machines
        real_hours = self._plan.window_hours * 3600 / self._plan.speed
        give_up = time.monotonic() + real_hours + _PATIENCE_SECONDS
        next_kill = time.monotonic() + self._kill_seconds
        victims = itertools.cycle(self.peers)
        restarts = [
            wanted * number // (self._plan.database_restarts + 1)
            for number in range(1, self._plan.database_restarts + 1)
        ]
        while (done := self._done()) < wanted and time.monotonic() < give_up:
            if restarts and done >= restarts[0]:
                restarts.pop(0)
                self._cluster.stop("immediate")
                self._cluster.start()
            if self._may_kill and time.monotonic() >= next_kill:
                victim = next(victims)
                victim.end(signal.SIGKILL)
                time.sleep(self._plan.down_seconds)
                victim.start()
                self._kills += 1
                next_kill = time.monotonic() + self._kill_seconds
            time.sleep(_LOOK_SECONDS)

    @property
    def _may_kill(self) -> bool:
        most = self._plan.most_kills
        return self._plan.kill_minutes > 0 and (most is None or self._kills < most)

    @property
    def _kill_seconds(self) -> float:
        return self._plan.kill_minutes * 60 / self._plan.speed

    def _command(self, state: Path, address: str, policy: Path, hosts: range) -> Sequence[str]:
        plan = self._plan
        return [
            *(plan.wrapper or [sys.executable]), "-m", "innkeeper.cli", "--socket", str(state / "s.sock"),
            "serve", "--fake", "--hosts", str(len(hosts)), "--first-host", str(hosts.start),
            "--machines", str(plan.machines), "--fleet", str(self._fleet), "--ledger",
            "--seed", str(plan.seed), "--speed", str(plan.speed),
            "--server-name", state.name, "--database", address,
            "--state-dir", str(state), "--config", str(policy), "--log-text",
        ]  # fmt: skip

    # What became of it

    def _done(self) -> int:
        return sum(count for verdict, count in self._verdicts().items() if verdict != "none")

    def _verdicts(self) -> Mapping[str, int]:
        query = "select coalesce(verdict, 'none'), count(*) from bookings group by 1"
        with self._engine.connect() as connection:
            return {str(verdict): int(count) for verdict, count in connection.exec_driver_sql(query)}

    def _waiting(self) -> int:
        query = "select count(*) from bookings where verdict is null and task_id is null"
        with self._engine.connect() as connection:
            return int(connection.scalar(sa.text(query)) or 0)

    def _cpu(self) -> float:
        return sum(peer.cpu_seconds for peer in self.peers)

    def _database_cpu(self) -> float:
        return self._cluster.cpu_seconds

    def _handovers(self) -> int:
        """Of hosts, from one life of a server to the next or to another server."""
        with self._engine.connect() as connection:
            return int(connection.scalar(sa.text("select coalesce(sum(epoch - 1), 0) from host_leases")) or 0)

    def _misplaced(self, states: Mapping[str, str]) -> int:
        """Machines in another state than before, and undo disks that are left over."""
        now: dict[str, str] = {}
        for peer in self.peers:
            with peer.connect() as inn:
                now |= {machine.name: machine.state.name for machine in inn.machines.list()}
        images = self._fleet.rglob("disks/*")
        left = [path for path in images if path.suffix != ".img"]
        return sum(now.get(name) != state for name, state in states.items()) + len(left)

    def _doubled(self) -> int:
        """Machines whose packages were upgraded more than once."""
        disks = (GuestDisk.from_bytes(path.read_bytes()) for path in self._fleet.rglob("disks/*.img"))
        return sum(disk.packages["base"] not in ("1.0-1", "1.0-2") for disk in disks)

    def _lines(self, name: str) -> Iterator[Mapping[str, Json]]:
        for file in self._fleet.rglob(f"{name}.jsonl"):
            yield from map(json.loads, file.read_text().splitlines())

    def acts(self) -> Mapping[str, int]:
        """How often the servers did what to machines."""
        return collections.Counter(str(line["doing"]) for line in self._lines("ledger"))
