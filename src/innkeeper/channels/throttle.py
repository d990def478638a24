"""How fast a guest is read: by its bytes, its frames, and the processor time that they cost."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

from innkeeper.channels.allowance import Allowance, Offences
from innkeeper.tasks.ports import Clock

#: So much of what a guest sends is processed in one go; then others have their turn. The smallest frames
#: take about half a millisecond.
SLICE_BYTES = 4 * 1024
#: More frames than this in one slice, and the rest of what lies there waits for the next turn of the loop.
CROWDED = 64
_SUSPECT_S = 60.0
#: So much of the processor's time is for all guests together that had more than their share.
_SHARED_PER_SECOND = 0.05
#: No slice is charged for more: one takes a few milliseconds, and what is above that was the collection of
#: garbage or other work of this thread, which is no guest's doing.
_MOST_SECONDS_OF_A_SLICE = 0.02


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Slice:
    """What a piece of a guest's bytes was."""

    size_bytes: int
    #: Data of streams within its credit, and what else answers what the host began.
    due_bytes: int
    frames: int
    #: Of the processor's time.
    seconds: float


class Processor:
    """The processor time that guests who had more than their share have together."""

    def __init__(self, clock: Clock, spent: Callable[[], float] = time.thread_time) -> None:
        #: The processor time of this thread, in seconds.
        self.spent = spent
        self._clock = clock
        #: Until when each guest is one of those, the soonest first.
        self._suspects: dict[object, float] = {}

    def suspect(self, guest: object) -> None:
        """Count a guest for a while among those that share the rest."""
        self._suspects.pop(guest, None)
        self._suspects[guest] = self._clock.monotonic() + _SUSPECT_S

    def sharers(self, guest: object) -> int:
        """Return among how many guests this one shares the rest: 0 where it does not."""
        now = self._clock.monotonic()
        while self._suspects and self._suspects[first := next(iter(self._suspects))] <= now:
            del self._suspects[first]
        return len(self._suspects) if guest in self._suspects else 0


class Throttle:
    """What one guest may send, and what it owes.

    A frame costs the host much the same whatever it carries: a guest that stays within its bytes with the
    smallest of frames, or with messages that are long to read, would fill the loop for everybody.
    """

    def __init__(self, clock: Clock, processor: Processor, offences: Offences) -> None:
        self._clock = clock
        self._processor = processor
        self._offences = offences
        self._bytes = Allowance(clock, per_second=1 << 20, burst=8 << 20)
        self._frames = Allowance(clock, per_second=2000, burst=2000)
        self._seconds = Allowance(clock, per_second=0.02, burst=0.1)
        #: Waiting for a quarter of the time is nothing strange; for longer it is a flood.
        self._patience = Allowance(clock, per_second=0.25, burst=15)
        #: Its part of what is shared: it waits by its own use alone, whatever the others owe.
        self._shared = Allowance(clock, per_second=_SHARED_PER_SECOND, burst=_SHARED_PER_SECOND)
        #: When the guest has paid for all that it sent.
        self._paid_at = clock.monotonic()

    @property
    def is_owing(self) -> bool:
        """Whether the guest is to be read no further for now."""
        return self._paid_at > self._clock.monotonic()

    def charge(self, piece: Slice) -> None:
        """Charge what this cost, but for the share of it that was due."""
        # The due bytes of a long frame are all counted where it ends: over its slices the sum is right.
        debt = self._bytes.owe(piece.size_bytes - piece.due_bytes)
        if piece.frames:
            share = max(0.0, 1 - piece.due_bytes / piece.size_bytes)
            seconds = min(piece.seconds, _MOST_SECONDS_OF_A_SLICE) * share
            debt = max(debt, self._frames.owe(piece.frames * share), self._seconds.owe(seconds))
            debt = max(debt, self._owe_together(seconds, debt))
        self._paid_at = self._clock.monotonic() + debt

    async def pay(self) -> None:
        """Wait as long as the guest owes. One that owes for most of the time floods, which is an offence."""
        owed = self._paid_at - self._clock.monotonic()
        if owed > 0:
            if not self._patience.take(owed):
                self._offences.count_flood()
            await self._clock.sleep(owed)

    def _owe_together(self, seconds: float, debt: float) -> float:
        """Count a guest that had more than its share in the last minute among those that share the rest."""
        if debt > 0:
            self._processor.suspect(self)
        sharers = self._processor.sharers(self)
        return self._shared.owe(seconds * sharers) if sharers else 0.0
