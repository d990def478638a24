"""Apply the undo action of machines whose guests power off by themselves."""

from __future__ import annotations

import structlog

from innkeeper.errors import InnkeeperError, MachineBusy, MachineNotFound
from innkeeper.machines.machine import MachineState
from innkeeper.machines.service import Machines
from innkeeper.tasks.outcome import traceback_of
from innkeeper.tasks.ports import Clock
from innkeeper.tasks.waiting import Signal
from innkeeper.wire.events import Event, EventKind

#: Seconds until a machine that a task holds is looked at again.
_AGAIN_SECONDS = 2.0

_log = structlog.get_logger(__name__)


class UndoActionWatch:
    """Looks at each undoable machine when it stops, and at all of them when the service starts."""

    def __init__(self, *, machines: Machines, clock: Clock) -> None:
        self._machines = machines
        self._clock = clock
        self._stopped: set[str] = set()
        self._woken = Signal()

    def on_event(self, event: Event) -> None:
        """Hear that a machine has stopped."""
        if event.kind is EventKind.MACHINE_STOPPED:
            self._stopped.add(event.about)
            self._woken.set()

    async def run(self) -> None:
        """Settle what is pending, now and whenever a machine stops."""
        for machine in await self._machines.everything():
            if machine.undo_pending and machine.state is MachineState.TURNED_OFF:
                self._stopped.add(machine.key)
        while True:
            busy = await self._settle_all()
            if not self._stopped:
                await self._woken.wait()
            elif busy:
                await self._clock.sleep(_AGAIN_SECONDS)

    async def _settle_all(self) -> bool:
        """Whether some are held by tasks, and are to be looked at again."""
        busy: set[str] = set()
        for name in [self._stopped.pop() for _ in range(len(self._stopped))]:
            try:
                await self._machines.settle_undo_disks(name)
            except MachineBusy:
                busy.add(name)
            except MachineNotFound:
                continue
            except InnkeeperError as error:
                _log.warning("undo_action.not_applied", machine=self._machines.called(name), error=str(error))
            except Exception as exc:  # what fails with one machine must not keep the others waiting
                _log.error(
                    "undo_action.broke", machine=self._machines.called(name), traceback=traceback_of(exc)
                )
        self._stopped |= busy
        return bool(busy)
