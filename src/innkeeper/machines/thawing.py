"""Thaw guests whose thaw is owed by nobody who still lives: a life of the service before, another server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import structlog

from innkeeper.errors import InnkeeperError, MachineBusy
from innkeeper.machines.machine import OFF, Machine
from innkeeper.machines.service import Machines, lock_of
from innkeeper.machines.undo.freezing import Freeze
from innkeeper.tasks.outcome import traceback_of
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.waiting import Signal
from innkeeper.wire.events import Event, EventKind, Publish

#: Between two looks at all machines, where nothing was heard of them.
_LOOK_SECONDS = 60.0

_log = structlog.get_logger(__name__)


class Thawing:
    """Looks at all machines when the service starts, when a host is back, and when a task has ended."""

    def __init__(self, *, machines: Machines, clock: Clock, publish: Publish) -> None:
        self._machines = machines
        self._clock = clock
        self._publish = publish
        self._began = clock.now().timestamp()
        self._woken = Signal(is_set=True)
        #: The machines that something was heard of, by key; ``None`` for all of them.
        self._heard: set[str] | None = None
        #: The machines that are being thawed, by key.
        self._at_work: dict[str, asyncio.Task[None]] = {}

    def on_event(self, event: Event) -> None:
        """Hear of what may have left a guest frozen, or brings it back into reach."""
        lock = str(event.data.get("lock") or "")
        if event.kind is EventKind.HOST_CONNECTED:
            self._heard = None
            self._woken.set()
        elif event.kind is EventKind.TASK_ENDED and event.data.get("error") and lock.startswith(lock_of("")):
            if self._heard is not None:
                self._heard.add(lock.removeprefix(lock_of("")))
            self._woken.set()

    async def run(self) -> None:
        """Thaw whom a thaw is owed, for ever; side by side, for one may never answer."""
        try:
            while True:
                if not await self._woken.wait_within(self._clock, _LOOK_SECONDS):
                    self._heard = None
                for machine in await self._looked_at():
                    if await self._is_left(machine):
                        work = self._thaw(machine)
                        self._at_work[machine.key] = asyncio.create_task(work, name=f"thaw {machine.key}")
        finally:
            for task in self._at_work.values():
                task.cancel()

    async def _looked_at(self) -> Sequence[Machine]:
        """The machines that something was heard of, or all."""
        heard, self._heard = self._heard, set()
        if heard is None:
            return await self._machines.everything()
        found: list[Machine] = []
        for key in heard:
            with contextlib.suppress(InnkeeperError):  # gone, or out of reach: the next look at all sees it
                found.append(await self._machines.get(key))
        return found

    async def _is_left(self, machine: Machine) -> bool:
        """Whether its thaw is owed, and nobody sees to it: a run of this life does so for its own machine."""
        if not machine.freezing_since or machine.state in OFF or machine.key in self._at_work:
            return False
        if machine.freezing_since < int(self._began):
            return True
        try:
            await self._machines.refuse_busy(machine)
        except MachineBusy:
            return False
        return True

    async def _thaw(self, machine: Machine) -> None:
        host = self._machines.hosts[machine.host]
        _log.warning("guest.to_be_thawed", machine=machine.title, since=machine.freezing_since)

        def say(sentence: str) -> None:
            _log.error("guest.not_thawed", machine=machine.title, sentence=sentence)
            self._publish(
                Event(
                    kind=EventKind.MACHINE_NOT_THAWED,
                    subject=machine.key,
                    at=self._clock.now(),
                    data={"text": sentence, "since": machine.freezing_since},
                )
            )

        try:
            await Freeze(host, machine.name, self._clock, say=say).thaw()
        except InnkeeperError as error:
            # The host is away, or it is gone; the next look sees what is left to do.
            _log.warning("guest.thaw_interrupted", machine=machine.title, error=str(error))
        except Exception as exc:  # the top of a task of its own
            _log.error("guest.thaw_broke", machine=machine.title, traceback=traceback_of(exc))
        else:
            _log.warning("guest.thawed", machine=machine.title)
        finally:
            del self._at_work[machine.key]
