"""Task agents of simulated guests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TypeVar

from innkeeper.channels.guest_details import Effect, GuestDetails, Listener, StaleProgram, UnitFacts
from innkeeper.channels.ports import (
    AgentHello,
    AgentTask,
    GuestAgent,
    GuestMessage,
    GuestStream,
    HealthReport,
    PackageChange,
    Preparation,
    PreparationState,
    StreamListener,
    TaskStateChanged,
    UpdateStatus,
)
from innkeeper.errors import AgentError, ErrorCode, HypervisorError, MachineNotFound
from innkeeper.hypervisor.simulated import guest_program as words
from innkeeper.hypervisor.simulated.guests import Due, Guest, GuestPreparation, GuestTask
from innkeeper.hypervisor.simulated.machines import SimulatedMachine
from innkeeper.hypervisor.simulated.simulation import Simulation
from innkeeper.hypervisor.simulated.streams import FakeStreams
from innkeeper.machines.machine import MachineState
from innkeeper.tasks.ports import Clock
from innkeeper.wire.events import Event, EventKind
from innkeeper.wire.guest_facts import Ability, GuestFacts, GuestParameter, LogonSession, WaitingUpdate
from innkeeper.wire.states import GuestWay
from innkeeper.wire.streams import MAX_STREAMS

T = TypeVar("T")

#: How often a waiting host looks at a simulated guest, in simulated seconds.
_LOOK_SECONDS = 5.0
#: The longest and the shortest time between two looks at one that tells what it does.
_QUIET_SECONDS = 30.0
_LEAST_SECONDS = 0.5
#: Events after which nothing of the guest's memory, or of its connections, is there any more.
_ENDS = frozenset(
    {
        EventKind.MACHINE_STOPPED,
        EventKind.MACHINE_SAVED,
        EventKind.MACHINE_CRASHED,
        EventKind.MACHINE_REBOOTED,
    }
)


class FakeAgents:
    """The task agents of all simulated machines."""

    def __init__(self, *simulations: Simulation, clock: Clock) -> None:
        self._simulations = {simulation.host: simulation for simulation in simulations}
        #: The host on which each machine was found last.
        self._found: dict[str, Simulation] = {}
        self._clock = clock
        self._streams = {host: FakeStreams() for host in self._simulations}

    def on_event(self, event: Event) -> None:
        """Break the streams of a machine that has stopped (a ``Publish``)."""
        found = self._find(event.about) if event.kind in _ENDS else None
        if found is not None:
            simulation, name = found
            self._streams[simulation.host].lose(name, "the machine has stopped")

    async def connected(
        self, machine: str, *, timeout: float, other_boot_than: str = "", told: float | None = None
    ) -> GuestAgent:
        """A session, once the guest's agent is up."""
        give_up = self._clock.monotonic() + timeout
        while True:
            found = self._find(machine)
            hello = None if found is None else await self._hello(*found)
            if found is not None and hello is not None and hello.boot_id != other_boot_than:
                simulation, name = found
                return FakeAgent(simulation, name, hello, self._clock, self._streams[simulation.host])
            if self._clock.monotonic() >= give_up:
                name = machine if found is None else found[1]
                seconds = timeout if told is None else told
                raise AgentError(
                    f"The task agent of {name} did not answer within {seconds:g} seconds.",
                    machine=name,
                    advice="Look at the machine's console.",
                )
            left = give_up - self._clock.monotonic()
            await self._clock.sleep(min(_until_due(found, self._clock), max(0.01, left)))

    def is_connected(self, machine: str) -> bool:
        """Whether the agent is up, as of the last look at its machine."""
        found = self._find(machine)
        return found is not None and found[0].has_agent_up(found[1])

    def way(self, machine: str) -> GuestWay | None:
        """By the task agent where the machine has a port for one, else by qemu-guest-agent."""
        found = self._find(machine)
        if found is None or not self.is_connected(machine):
            return None
        has_port = found[0].machines[found[1]].has_agent_port
        return GuestWay.TASK_AGENT if has_port else GuestWay.QEMU_GUEST_AGENT

    def silence(self, machine: str) -> AgentError | None:
        """Nothing more than that."""
        return None

    def limits(self, machine: str) -> tuple[str, ...]:
        """What a simulated guest lacks without a task agent."""
        found = self._find(machine)
        if found is None or self.way(machine) is not GuestWay.QEMU_GUEST_AGENT:
            return ()
        return (
            "Its ports cannot be reached.",
            f"The task agent can do more: innkeeper machine prepare {found[1]}",
        )

    def heartbeat(self, machine: str) -> int | None:
        """All or none: simulated agents lose no ping."""
        found = self._find(machine)
        return None if found is None else found[0].heartbeat(found[1])

    def _find(self, machine: str) -> tuple[Simulation, str] | None:
        """The host and the name of a machine, by its key."""
        last = self._found.get(machine)
        for simulation in self._simulations.values() if last is None else (last,):
            if (name := _name_on(simulation, machine)) is not None:
                self._found[machine] = simulation
                return simulation, name
        return None if self._found.pop(machine, None) is None else self._find(machine)

    async def _hello(self, simulation: Simulation, name: str) -> AgentHello | None:
        try:
            return await simulation.simulate(name, _hello)
        except (MachineNotFound, HypervisorError):  # it is gone, or its host is away
            return None


def _name_on(simulation: Simulation, machine: str) -> str | None:
    """The name of a machine that the host has, by its key: as at real hosts, a name alone finds nobody."""
    host_id, _, uuid = machine.rpartition("/")
    return simulation.name_of(uuid) if host_id and host_id == simulation.identity.id else None


class FakeAgent:
    """One session with a simulated agent; it ends with the guest's boot."""

    def __init__(
        self,
        simulation: Simulation,
        machine: str,
        hello: AgentHello,
        clock: Clock,
        streams: FakeStreams,
    ) -> None:
        self._streams = streams
        self._simulation = simulation
        self._machine = machine
        self._hello = hello
        self._clock = clock

    @property
    def hello(self) -> AgentHello:
        """The simulated agent's greeting."""
        return self._hello

    async def prepare(
        self, label: str, identifier: str, context: bytes, *, attempt: str, offset: int
    ) -> Preparation:
        """Refresh, simulate and download."""
        return await self._call(
            lambda guest, now: _preparation(guest.prepare(identifier, context, attempt, now), now, offset)
        )

    async def stop_preparing(self, identifier: str) -> None:
        """Stop a preparation."""
        await self._call(lambda guest, _: guest.memory.preparations.pop(identifier, None))

    async def start_task(
        self, label: str, identifier: str, context: bytes, *, attempt: str = ""
    ) -> AgentTask:
        """``StartTask``."""
        return await self._call(
            lambda guest, now: _told(identifier, guest.start_task(identifier, context, attempt, now)),
            doing=f"update {identifier}",
        )

    async def task(self, identifier: str) -> AgentTask | None:
        """An update in the agent's journal; ``None`` where it is unknown."""
        return await self._call(lambda guest, _: _journal_of(guest).get(identifier))

    async def last_words(self, identifier: str) -> AsyncIterator[str]:
        """None: its messages tell all."""
        return
        yield

    async def cancel_task(self, identifier: str) -> None:
        """Stop an update: what was due of it does not happen."""
        await self._call(lambda guest, _: _cancel(guest, identifier))

    async def health(self, *, history: bool = False) -> HealthReport:
        """The guest's health now."""
        return await self._call(_health)

    async def evidence(self, units: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """What a unit that has failed said last."""
        return await self._call(lambda guest, _: _evidence(guest, units))

    async def effect(self) -> Effect:
        """The shop runs old files after some updates, until it is restarted."""
        return await self._call(lambda guest, _: Effect(stale=(_STALE,) if guest.memory.is_stale else ()))

    async def restart_units(self, units: Sequence[str]) -> Sequence[str]:
        """The shop can be."""
        return await self._call(lambda guest, _: _restart(guest, units))

    async def disturbed(self, identifier: str, *, start: bool) -> Sequence[str]:
        """The job that the update has disturbed."""
        return await self._call(lambda guest, _: guest.disturbed(identifier, start))

    async def reboot(self) -> None:
        """The guest goes down a little later."""
        await self._call(lambda guest, now: guest.schedule(now + 1.0, Due.REBOOT))

    async def shut_down(self) -> None:
        """The guest powers off a little later."""
        await self._call(lambda guest, now: guest.schedule(now + guest.pace.shut_down, Due.POWER_OFF))

    async def may_reach(self, port: int) -> bool:
        """The ports open by the agent's default, and the echo besides."""
        return port in (7, 22, 80, 443) or port >= 1024

    def open_stream(self, port: int, listener: StreamListener) -> GuestStream:
        """Connect to one of the guest's servers."""
        try:
            return self._streams.open(self._machine, port, listener)
        except ValueError as error:
            raise AgentError(
                f"{self._machine} cannot carry another connection: {error}.",
                machine=self._machine,
                code=ErrorCode.ERROR_MAX_SESSIONS_REACHED,
            ) from error

    def knows(self, ability: Ability) -> bool:
        """All of it."""
        return True

    async def version(self) -> str:
        """The agent's version."""
        return self._hello.agent_version

    async def boot_id(self) -> str:
        """An identifier of this boot."""
        return await self._call(lambda guest, _: guest.memory.boot_id)

    async def ping(self) -> None:
        """Return when it has answered."""
        await self._call(lambda guest, _: None)

    async def facts(self) -> GuestFacts:
        """Facts of the guest."""
        return await self._call(lambda guest, _: words.facts(guest, self._machine))

    async def sessions(self) -> Sequence[LogonSession]:
        """The users who are logged on."""
        return await self._call(lambda guest, _: words.sessions(guest))

    async def log_off(self) -> int:
        """Everybody goes."""
        return await self._call(lambda guest, _: words.log_off(guest))

    async def parameters(self) -> Mapping[str, GuestParameter]:
        """The values that the guest keeps."""
        return await self._call(lambda guest, _: words.parameters(guest))

    async def set_parameter(self, name: str, value: str | None, *, revision: int) -> None:
        """Set a value in the guest."""
        await self._call(lambda guest, _: words.set_parameter(guest, name, value, revision))

    async def scan(self) -> Sequence[WaitingUpdate]:
        """The packages that the next update would change."""
        return await self._call(lambda guest, _: words.scan(guest))

    async def set_time(self, seconds: float) -> None:
        """Note the time that was set."""
        await self._call(lambda guest, _: setattr(guest.memory, "clock_set_at", seconds))

    async def messages(self) -> AsyncIterator[GuestMessage]:
        """Every change of the agent's journal, until the session is lost."""
        known: dict[str, AgentTask] = {}
        while True:
            try:
                journal = await self._call(lambda guest, _: _journal_of(guest))
            except AgentError:
                return
            for identifier, task in journal.items():
                if known.get(identifier, task) != task:
                    yield TaskStateChanged(task=task)
            known = journal
            await self._clock.sleep(_until_due((self._simulation, self._machine), self._clock))

    async def _call(self, ask: Callable[[Guest, float], T], *, doing: str = "") -> T:
        def answer(machine: SimulatedMachine, now: float) -> T:
            if not _is_up(machine) or machine.memory is None or machine.memory.boot_id != self._hello.boot_id:
                raise self._lost()
            guest = machine.guest()
            told = ask(guest, now)
            machine.write(guest)
            return told

        try:
            return await self._simulation.simulate(self._machine, answer, doing=doing, is_inside=True)
        except HypervisorError as error:  # the host is away, and the session went by it
            raise self._lost() from error

    def _lost(self) -> AgentError:
        return AgentError(
            f"The session with the task agent of {self._machine} is lost.",
            machine=self._machine,
            advice="Wait for the guest to come back.",
        )


def _until_due(found: tuple[Simulation, str] | None, clock: Clock) -> float:
    """How long nothing will happen in a guest by itself; somebody may start, pause or stop it meanwhile."""
    machine = None if found is None else found[0].machines.get(found[1])
    if machine is None or machine.memory is None:
        return _LOOK_SECONDS
    due = machine.memory.due
    seconds = due[0][0] - clock.now().timestamp() if due and machine.paused_at is None else _QUIET_SECONDS
    return min(max(seconds, _LEAST_SECONDS), _QUIET_SECONDS)


def _is_up(machine: SimulatedMachine) -> bool:
    running = machine.state is MachineState.RUNNING and not machine.frozen
    return (
        running
        and (machine.has_agent_port or machine.has_guest_agent_port)
        and machine.memory is not None
        and machine.memory.agent_up
    )


def _hello(machine: SimulatedMachine, now: float) -> AgentHello | None:
    if not _is_up(machine) or machine.memory is None:
        return None
    guest = machine.guest()
    return AgentHello(
        agent_version="simulated",
        boot_id=machine.memory.boot_id,
        plugin_name="simulated",
        os_name=guest.disk.os_name,
        tasks=tuple(_journal_of(guest).values()),
        max_streams=MAX_STREAMS,
        knows=frozenset(Ability),
    )


def _journal_of(guest: Guest) -> dict[str, AgentTask]:
    return {identifier: _told(identifier, task) for identifier, task in guest.disk.journal.items()}


def _told(identifier: str, task: GuestTask) -> AgentTask:
    return AgentTask(
        identifier=identifier,
        status=UpdateStatus(task.status),
        percent=None,
        text=task.text,
        packages=tuple(
            PackageChange(name=name, old_version=old, new_version=new) for name, old, new in task.packages
        ),
        unchanged=task.unchanged,
    )


def _preparation(found: GuestPreparation, now: float, offset: int) -> Preparation:
    if now < found.until:
        return Preparation(
            state=PreparationState.RUNNING,
            text="Looking for updates",
            packages=(),
            output=(),
            offset=offset,
        )
    return Preparation(
        state=PreparationState(found.state),
        text=found.text,
        packages=(),
        output=(found.text,) if offset == 0 else (),
        offset=len(found.text),
    )


def _health(guest: Guest, now: float) -> HealthReport:
    failed = frozenset(guest.memory.failed_units)
    shop = _shop(guest, now)
    serves = shop.active == "active" and now >= guest.memory.serves_at
    listeners = (_SSH, *((_SHOP,) if serves else ()))
    return HealthReport(
        boot_id=guest.memory.boot_id,
        kernel=guest.disk.kernel,
        system_state="degraded" if failed else "running",
        failed_units=failed,
        listeners=frozenset(f"tcp:{each.address}:{each.port}" for each in listeners),
        mounts=frozenset({"/"}),
        package_database_ok=guest.disk.package_database_ok,
        reboot_required=guest.memory.reboot_required,
        failed_checks={},
        details=GuestDetails(
            uptime=int(now - guest.memory.booted_at),
            units={unit.name: unit for unit in (shop, _SSH_UNIT)},
            unit_files=frozenset({shop.name, _SSH_UNIT.name}),
            listeners=listeners,
        ),
    )


#: What listens in every simulated guest.
_SSH = Listener(protocol="tcp", address="0.0.0.0", port=22, unit="ssh.service", program="sshd")  # noqa: S104
_SSH_UNIT = UnitFacts(
    name="ssh.service", active="active", sub="running", type="notify", enablement="enabled", wanted=True
)
_SHOP = Listener(protocol="tcp", address="0.0.0.0", port=80, unit="shop.service", program="shop")  # noqa: S104
_STALE = StaleProgram(unit="shop.service", program="shop", path="/usr/lib/libshop.so.1")
#: A service that ends is started again so often, in seconds.
_LOOP_SECONDS = 5.0


def _shop(guest: Guest, now: float) -> UnitFacts:
    """The guest's shop: by luck it is active whenever one looks, also where it keeps ending."""
    memory = guest.memory
    has_failed = "shop.service" in memory.failed_units
    return UnitFacts(
        name="shop.service",
        active="failed" if has_failed else "active",
        sub="failed" if has_failed else "running",
        type="simple",
        restarts=int((now - memory.loops_since) / _LOOP_SECONDS) if memory.loops_since else 0,
        enablement="enabled",
        wanted=True,
    )


def _restart(guest: Guest, units: Sequence[str]) -> Sequence[str]:
    guest.memory.is_stale = guest.memory.is_stale and "shop.service" not in units
    return units


def _evidence(guest: Guest, units: Sequence[str]) -> Mapping[str, Sequence[str]]:
    failed = [unit for unit in units if unit in guest.memory.failed_units]
    return {
        unit: ("failed (failed), result exit-code, its program ended by exit code 1", f"{unit}: cannot start")
        for unit in failed
    }


def _cancel(guest: Guest, identifier: str) -> None:
    guest.memory.due = [due for due in guest.memory.due if due[2] != identifier]
    task = guest.disk.journal.get(identifier)
    if task is not None and not UpdateStatus(task.status).is_final:
        task.status, task.text = int(UpdateStatus.FAILED), "Cancelled"
