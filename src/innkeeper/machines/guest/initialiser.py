"""Initialisation of guests that begin to answer: clock and parameters."""

from __future__ import annotations

import asyncio

import structlog

from innkeeper.errors import AgentError, InnkeeperError
from innkeeper.machines.guest.os import GuestOS
from innkeeper.machines.guest.parameters import Parameters
from innkeeper.machines.machine import MachineState
from innkeeper.machines.service import Machines
from innkeeper.tasks.outcome import traceback_of
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.waiting import Signal
from innkeeper.wire.events import Event, EventKind
from innkeeper.wire.guest_facts import Ability

_log = structlog.get_logger(__name__)

#: After these a guest's clock may be wrong, and its disk another than before.
_GREETING = frozenset(
    {EventKind.AGENT_CONNECTED, EventKind.MACHINE_RESUMED, EventKind.MACHINE_GUEST_AGENT_CHANGED}
)
#: A guest that does not answer yet is looked at again so often, and so many times.
_AGAIN_SECONDS = 5.0
_TRIES = 24
_AT_ONCE = 16


class GuestInitialiser:
    """Initialises each guest once it answers: after a start, a restore, a resume, and a roll back."""

    def __init__(self, *, machines: Machines, guests: GuestOS, parameters: Parameters, clock: Clock) -> None:
        self._machines = machines
        self._guests = guests
        self._parameters = parameters
        self._clock = clock
        #: How often each guest is still to be tried.
        self._waiting: dict[str, int] = {}
        self._woken = Signal()
        #: Those that are being initialised, so many at once at most.
        self._at_work: set[str] = set()
        self._slots = asyncio.Semaphore(_AT_ONCE)

    def on_event(self, event: Event) -> None:
        """Start the work for a guest that has begun to answer."""
        if event.kind in _GREETING or event.kind is EventKind.MACHINE_STARTED:
            self._waiting[event.about] = _TRIES if event.kind is EventKind.MACHINE_STARTED else 1
            self._woken.set()

    async def run(self) -> None:
        """Initialise guests side by side, until cancelled: one that is slow to answer holds up no other."""
        async with asyncio.TaskGroup() as group:
            while True:
                for name in self._waiting.keys() - self._at_work:
                    self._at_work.add(name)
                    group.create_task(self._try(name, self._waiting.pop(name) - 1), name=f"greet {name}")
                if self._waiting:
                    await self._woken.wait_within(self._clock, _AGAIN_SECONDS)
                else:
                    await self._woken.wait()

    async def _try(self, name: str, left: int) -> None:
        try:
            async with self._slots:
                machine = await self._machines.get(name)
                if machine.state is MachineState.RUNNING:
                    await self._greet(name)
        except InnkeeperError as error:
            _log.debug("guest_not_greeted", machine=self._machines.called(name), error=str(error))
            if left > 0:
                await self._clock.sleep(_AGAIN_SECONDS)
                self._waiting.setdefault(name, left)
        except Exception as exc:  # what one guest does must not keep the others waiting
            _log.error(
                "guest_greeting_broke", machine=self._machines.called(name), traceback=traceback_of(exc)
            )
        finally:
            self._at_work.discard(name)
            if self._waiting:
                self._woken.set()

    async def _greet(self, name: str) -> None:
        # First: with an old clock it trusts no certificate.
        if await self._guests.is_time_synchronised(name):
            await self._set_clock(name)
        machine, program = await self._guests.program(name, Ability.PARAMETERS)
        await self._parameters.greet(machine, program)
        _log.info("guest_greeted", machine=machine.title)

    async def _set_clock(self, name: str) -> None:
        """Set the guest's clock; a guest whose clock cannot be set keeps its own."""
        try:
            _, program = await self._guests.program(name, Ability.TIME)
            await program.set_time(self._clock.now().timestamp())
        except AgentError as error:
            _log.info("clock_not_set", machine=self._machines.called(name), error=str(error))
