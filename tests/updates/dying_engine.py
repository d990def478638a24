"""An engine for tests that is killed at one moment of one step."""

from __future__ import annotations

import enum

from innkeeper.tasks.memory_engine import MemoryEngine, MemoryJournal, StepMoment
from innkeeper.tasks.ports import Clock


class Moment(enum.Enum):
    """When the service dies, seen from one step."""

    BEFORE_THE_ACTION = "before"
    #: The action is done, and nothing says so.
    BEFORE_THE_RECORD = "done"
    AFTER_THE_RECORD = "recorded"


class DyingEngine(MemoryEngine):
    """An engine that is killed at one moment of one step."""

    def __init__(self, journal: MemoryJournal, clock: Clock, step: str, moment: Moment) -> None:
        super().__init__(journal, clock=clock, on_step=self._look)
        self._step = step
        self._moment = moment
        self._stops_left = 0
        self.is_dead = False

    async def _look(self, moment: StepMoment) -> None:
        if moment.name != self._step:
            return
        if moment.done:
            self._die_if(self._moment is Moment.AFTER_THE_RECORD)
        else:
            self._die_if(self._moment is Moment.BEFORE_THE_ACTION)
            # The engine looks whether it was killed once now, and once after the action.
            self._stops_left = 2

    async def stand_still_if_killed(self) -> None:
        """As every engine; dies here when the action is done and not yet recorded."""
        self._stops_left -= 1
        if self._stops_left == 0:
            self._die_if(self._moment is Moment.BEFORE_THE_RECORD)
        await super().stand_still_if_killed()

    def _die_if(self, so: bool) -> None:
        if so:
            self.is_dead = True
            self.kill()
