"""Listen to guests' hearts, and say when one stops (``IVMGuestOS::IsHeartbeating``)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

import structlog

from innkeeper.errors import AgentError, ErrorCode, InnkeeperError
from innkeeper.machines.guest.program import expect_guest
from innkeeper.machines.machine import Machine, MachineState
from innkeeper.machines.service import Machines
from innkeeper.tasks.ports import Clock
from innkeeper.wire.events import Event, EventKind, Publish

_log = structlog.get_logger(__name__)

#: How often all hearts are listened to, in seconds: the documented ten times a minute.
_LISTEN_SECONDS = 6.0
#: qemu-guest-agent, where there is no agent of ours, is asked less: libvirt asks it one thing at a time.
_ASK_SECONDS = 30.0
_BLOCK_SECONDS = 60.0
#: A host with many machines is looked at less often.
_MOST_OF_THE_TIME = 0.05


class Hearts(Protocol):
    """Source of the guests' heartbeats: pings to their task agents."""

    def heartbeat(self, machine: str) -> int | None:
        """Percent of the heartbeats of the last minute; nothing where none was ever heard, or it is off."""


class Heartbeats:
    """The hearts of all guests: of their task agents, or of qemu-guest-agent where only that is there."""

    def __init__(self, machines: Machines, hearts: Hearts, *, clock: Clock, publish: Publish) -> None:
        self._machines = machines
        self._hearts = hearts
        self._clock = clock
        self._publish = publish
        #: When qemu-guest-agent answered last, by machine.
        self._answered: dict[str, float] = {}
        self._asked_at: dict[str, float] = {}
        #: The machines whose heart was heard.
        self._beating: set[str] = set()

    async def run(self) -> None:
        """Listen, until cancelled."""
        while True:
            began = self._clock.monotonic()
            try:
                await self._listen(await self._machines.everything())
            except InnkeeperError as error:
                _log.debug("heartbeats_unheard", error=str(error))
            took = self._clock.monotonic() - began
            await self._clock.sleep(max(_LISTEN_SECONDS, took / _MOST_OF_THE_TIME))

    async def percent(self, name: str) -> int:
        """Percent of the expected heartbeats of the last minute (``HeartbeatPercentage``).

        Raises ``WrongState`` (``VM_E_VM_NOT_RUNNING``) where it does not run, ``AgentError``
        (``VM_E_ADDITIONS_NOT_AVAIL``) where no agent was heard since it runs.
        """
        machine = await self._machines.get(name)
        expect_guest(machine)
        percent = self.percent_or_none(machine.key)
        if percent is None:
            raise AgentError(
                f"{machine.title} has given no heartbeat: no agent has answered since it was started.",
                machine=machine.title,
                code=ErrorCode.VM_E_ADDITIONS_NOT_AVAIL,
                advice=f"Run: innkeeper machine prepare {machine.title}",
            )
        return percent

    def percent_or_none(self, key: str) -> int | None:
        """The same, without a question; nothing where there is none to hear."""
        own = self._hearts.heartbeat(key)
        if own is not None or key not in self._answered:
            return own
        return 100 if self._clock.monotonic() - self._answered[key] < _BLOCK_SECONDS else 0

    async def _listen(self, machines: Sequence[Machine]) -> None:
        running = {machine.key: machine for machine in machines if machine.state is MachineState.RUNNING}
        self._forget(running)
        await self._ask_guest_agents(running)
        for key in running:
            percent = self.percent_or_none(key)
            if percent:
                self._beating.add(key)
            elif percent == 0 and key in self._beating:
                self._beating.discard(key)
                self._publish(
                    Event(kind=EventKind.MACHINE_HEARTBEAT_STOPPED, subject=key, at=self._clock.now())
                )

    def _forget(self, running: Mapping[str, Machine]) -> None:
        """A machine that does not run, or is paused, has no heart to stop."""
        self._beating &= running.keys()
        for known in (self._answered, self._asked_at):
            for key in known.keys() - running.keys():
                del known[key]

    async def _ask_guest_agents(self, running: Mapping[str, Machine]) -> None:
        now = self._clock.monotonic()
        due = [
            machine
            for key, machine in running.items()
            if machine.has_guest_agent_port
            and self._hearts.heartbeat(key) is None
            and now - self._asked_at.get(key, -_ASK_SECONDS) >= _ASK_SECONDS
        ]
        await asyncio.gather(*(self._ask(machine, now) for machine in due))

    async def _ask(self, machine: Machine, now: float) -> None:
        self._asked_at[machine.key] = now
        try:
            await self._machines.hosts[machine.host].guest_agents.program(machine.name).ping()
        except InnkeeperError:
            return
        self._answered[machine.key] = self._clock.monotonic()
