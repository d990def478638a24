"""Log guests off, restart them and shut them down, as tasks (``IVMGuestOS::Logoff`` and the like)."""

from __future__ import annotations

import collections
import enum
from collections.abc import Awaitable, Callable, Mapping

from innkeeper.errors import AgentError, ErrorCode, InnkeeperError, MachineError
from innkeeper.machines.guest.os import GuestOS
from innkeeper.machines.guest.program import featured
from innkeeper.machines.machine import Machine, MachineState
from innkeeper.machines.ports.host import Host
from innkeeper.machines.service import Machines, lock_of
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.running import RunningTask
from innkeeper.tasks.service import Tasks
from innkeeper.tasks.task import CancelEffect, Task
from innkeeper.tasks.waiting import until
from innkeeper.wire.commands import Command
from innkeeper.wire.events import Event, EventKind, Json, Publish
from innkeeper.wire.guest_facts import Ability
from innkeeper.wire.states import LogoffType

#: A guest that was asked must have gone within this, in seconds; forced, the host does not wait longer.
GOING_SECONDS = 300.0
FORCED_SECONDS = 60.0
_LOOK_SECONDS = 1.0


class GuestCommand(enum.StrEnum):
    """Power commands that a guest can be given."""

    LOG_OFF = "guest_log_off"
    RESTART = "guest_restart"
    SHUT_DOWN = "guest_shut_down"


_WORDS: Mapping[GuestCommand, str] = {
    GuestCommand.LOG_OFF: "Log off",
    GuestCommand.RESTART: "Restart",
    GuestCommand.SHUT_DOWN: "Shut down",
}


class GuestTasks:
    """The tasks on guests. Each is refused at the call where the guest cannot be asked at all."""

    def __init__(
        self, *, machines: Machines, guests: GuestOS, tasks: Tasks, clock: Clock, publish: Publish
    ) -> None:
        self._machines = machines
        self._guests = guests
        self._tasks = tasks
        self._clock = clock
        self._publish = publish
        #: How often each guest was seen to reboot.
        self._reboots: collections.Counter[str] = collections.Counter()
        tasks.register(GuestCommand.LOG_OFF, self._log_off)
        tasks.register(GuestCommand.RESTART, self._restart)
        tasks.register(GuestCommand.SHUT_DOWN, self._shut_down)

    def on_event(self, event: Event) -> None:
        """Note that a guest has rebooted."""
        if event.kind is EventKind.MACHINE_REBOOTED:
            self._reboots[event.about] += 1

    async def log_off(self, name: str, *, owner: str) -> Task:
        """Log everybody off (``Logoff``). Late: ``ERROR_NO_SUCH_LOGON_SESSION`` where nobody is on."""
        machine, _ = await self._guests.program(name, Ability.SESSIONS)
        return await self._start(machine, GuestCommand.LOG_OFF, owner, forced=False)

    async def restart(self, name: str, *, owner: str, forced: bool = False) -> Task:
        """Ask the guest to reboot, and wait until it has begun to (``Restart``).

        Forced, a locked screen is no reason to refuse (late: ``ERROR_MACHINE_LOCKED``), and a guest that
        does not go within a minute is reset.
        """
        machine = await self._machines.get(name)
        if not forced or machine.state is not MachineState.RUNNING:
            machine, _ = await self._guests.program(name, Ability.FACTS)
        return await self._start(machine, GuestCommand.RESTART, owner, forced=forced)

    async def shut_down(self, name: str, *, owner: str, forced: bool = False) -> Task:
        """Ask the guest to power off, and wait until it has (``Shutdown``).

        Forced, a locked screen is no reason to refuse, and a guest that does not go within a minute is
        turned off.
        """
        machine = await self._machines.get(name)
        if not forced or machine.state is not MachineState.RUNNING:
            machine, _ = await self._guests.program(name, Ability.FACTS)
        return await self._start(machine, GuestCommand.SHUT_DOWN, owner, forced=forced)

    async def _start(self, machine: Machine, command: GuestCommand, owner: str, *, forced: bool) -> Task:
        return await self._tasks.start(
            command,
            f"{_WORDS[command]} {machine.title}",
            {"machine": machine.name, "host": machine.host_id, "key": machine.key, "forced": forced},
            lock=lock_of(machine.key),
            about=machine.title,
            host=machine.host_id,
            owner=owner,
            cancel_effect=CancelEffect.NONE,
        )

    # The works

    async def _log_off(self, task: RunningTask, argument: Mapping[str, Json]) -> None:
        _, machine, _ = await self._read(argument)
        task.report("Logging all users off", number=1, count=1)

        async def act() -> Json:
            _, program = await self._guests.program(machine.key, Ability.SESSIONS)
            return await featured(machine.title, program.log_off)

        ended = await task.step("log off", act)
        if not ended:
            raise MachineError(
                f"Nobody is logged on to {machine.title}.",
                machine=machine.title,
                code=ErrorCode.ERROR_NO_SUCH_LOGON_SESSION,
                advice="There is no session to end.",
            )
        task.log(f"{ended} sessions were told to end.")
        data = {"logoff_type": LogoffType.EXTERNAL.name}
        self._publish(
            Event(
                kind=EventKind.MACHINE_GUEST_LOGGED_OFF,
                subject=machine.key,
                at=self._clock.now(),
                data=data,
            )
        )

    async def _restart(self, task: RunningTask, argument: Mapping[str, Json]) -> None:
        host, machine, forced = await self._read(argument)
        seen = self._reboots[machine.key]
        await self._refuse_locked(task, machine, forced)
        task.report("Asking the guest to reboot", number=1, count=2)

        async def ask() -> Json:
            boot = await self._boot_of(machine)
            await self._ask(host, machine, "reboot", forced)
            return boot

        boot = await task.step("ask", ask)
        task.report("Waiting for the new boot", number=2, count=2)

        async def wait() -> Json:
            async def has_rebooted() -> bool:
                return self._reboots[machine.key] > seen or await self._boot_of(machine) not in ("", boot)

            if not await self._until(FORCED_SECONDS if forced else GOING_SECONDS, has_rebooted):
                if not forced:
                    raise _stays(machine.title, "reboot")
                task.log("The guest did not reboot: the machine is reset.")
                await host.lifecycle.act(machine.name, Command.RESET)
            return None

        await task.step("wait", wait)

    async def _shut_down(self, task: RunningTask, argument: Mapping[str, Json]) -> None:
        host, machine, forced = await self._read(argument)
        await self._refuse_locked(task, machine, forced)
        task.report("Asking the guest to power off", number=1, count=2)

        async def ask() -> Json:
            if (await host.inventory.get(machine.name)).state is MachineState.RUNNING:
                await self._ask(host, machine, "power off", forced)
            return None

        await task.step("ask", ask)
        task.report("Waiting until it is off", number=2, count=2)

        async def wait() -> Json:
            timeout_seconds = FORCED_SECONDS if forced else GOING_SECONDS
            if not await self._until(timeout_seconds, lambda: self._is_off(host, machine)):
                if not forced:
                    raise _stays(machine.title, "power off")
                task.log("The guest did not power off: the machine is turned off.")
                await host.lifecycle.turn_off(machine.name)
            return None

        await task.step("wait", wait)

    # Machinery

    async def _read(self, argument: Mapping[str, Json]) -> tuple[Host, Machine, bool]:
        # Tasks from before machines had keys name the host and the machine.
        key = argument.get("key") or f"{argument['host']}/{argument['machine']}"
        machine = await self._machines.get(str(key))
        return self._machines.hosts[machine.host], machine, argument["forced"] is True

    async def _refuse_locked(self, task: RunningTask, machine: Machine, forced: bool) -> None:
        """A locked screen is somebody's work: it takes force."""

        async def look() -> Json:
            try:
                return any(session.locked for session in await self._guests.sessions(machine.key))
            except InnkeeperError:
                return False  # Nobody can say, so nobody is taken to be there.

        if not forced and await task.step("look", look):
            raise MachineError(
                f"Somebody's screen is locked on {machine.title}.",
                machine=machine.title,
                code=ErrorCode.ERROR_MACHINE_LOCKED,
                advice="Ask whoever it is, or do it with --force.",
            )

    async def _ask(self, host: Host, machine: Machine, what: str, forced: bool) -> None:
        """Through the agent; forced, by the power button where none answers."""
        try:
            _, program = await self._guests.program(machine.key, Ability.FACTS)
            await (program.reboot() if what == "reboot" else program.shut_down())
        except AgentError as error:
            if not forced:
                error.code = ErrorCode.ERROR_NOT_READY
                raise
            again = host.lifecycle.reboot if what == "reboot" else host.lifecycle.shut_down
            await again(machine.name)

    async def _boot_of(self, machine: Machine) -> str:
        """An identifier of the guest's present boot; empty where it cannot be read."""
        try:
            _, program = await self._guests.program(machine.key, Ability.FACTS)
            return await program.boot_id()
        except InnkeeperError:
            return ""

    async def _is_off(self, host: Host, machine: Machine) -> bool:
        return (await host.inventory.get(machine.name)).state is MachineState.TURNED_OFF

    async def _until(self, seconds: float, look: Callable[[], Awaitable[bool]]) -> bool:
        return await until(self._clock, look, every=_LOOK_SECONDS, seconds=seconds)


def _stays(name: str, what: str) -> MachineError:
    return MachineError(
        f"The guest of {name} did not {what} within {GOING_SECONDS:g} seconds.",
        machine=name,
        code=ErrorCode.VM_E_TIMED_OUT,
        advice="Look at its console, or do it with --force.",
    )
