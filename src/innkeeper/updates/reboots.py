"""Count how often a guest reboots in its night, and at whose wish."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
from typing import Final

from innkeeper.wire.events import Event, EventKind

#: Of each machine so many events are kept, the newest: a reboot loop makes a thousand an hour.
_MOST: Final = 5000
#: Why a machine crashes whose panic device tells of its guest's kernel; else it was its QEMU that died.
_PANICKED: Final = "panicked"
#: A firmware that resets once more as it comes up makes no second reboot.
_ONE_SECONDS: Final = 0.5
#: So many reboots that nobody asked for are a loop.
LOOP: Final = 3


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What a host has told of one machine for a while."""

    reboots: int = 0
    #: How often its panic device said that its kernel had crashed.
    crashes: int = 0
    #: How often it was started by somebody.
    starts: int = 0


class RebootWatch:
    """What hosts tell of reboots, starts and crashes.

    A service that starts anew has heard nothing of before.
    """

    def __init__(self) -> None:
        self._heard: dict[str, collections.deque[tuple[dt.datetime, EventKind]]] = {}

    def on_event(self, event: Event) -> None:
        """Keep what happens to machines."""
        is_panic = event.kind is EventKind.MACHINE_CRASHED and event.data.get("reason") == _PANICKED
        if event.kind not in (EventKind.MACHINE_REBOOTED, EventKind.MACHINE_STARTED) and not is_panic:
            return
        heard = self._heard.setdefault(event.about, collections.deque(maxlen=_MOST))
        is_again = heard and heard[-1][1] is event.kind
        if not (is_again and dt.timedelta() < event.at - heard[-1][0] < dt.timedelta(seconds=_ONE_SECONDS)):
            heard.append((event.at, event.kind))

    def seen(self, machine: str, since: dt.datetime) -> Seen:
        """What has happened to a machine, by its key, since a moment."""
        kinds = collections.Counter(kind for at, kind in self._heard.get(machine, ()) if at > since)
        return Seen(
            reboots=kinds[EventKind.MACHINE_REBOOTED],
            crashes=kinds[EventKind.MACHINE_CRASHED],
            starts=kinds[EventKind.MACHINE_STARTED],
        )


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Reboots:
    """The reboots of one night."""

    #: Asked for by the run.
    ours: int = 0
    #: Asked for by the update, in the guest.
    of_update: int = 0
    #: That nobody asked for.
    by_itself: int = 0
    #: How often the guest's kernel crashed, whatever came of it.
    crashes: int = 0

    @property
    def count(self) -> int:
        """All of them."""
        return self.ours + self.of_update + self.by_itself

    @property
    def words(self) -> str:
        """How many, and at whose wish; empty for none."""
        after_crash = min(self.by_itself, self.crashes)
        loop = " (a reboot loop)" if self.is_loop else ""
        whose = (
            (self.ours, "asked for by Innkeeper"),
            (self.of_update, "asked for by the update"),
            (after_crash, f"after a crash of its kernel{loop}"),
            (self.by_itself - after_crash, f"by itself{'' if after_crash else loop}"),
        )
        said = ", ".join(f"{many} {what}" for many, what in whose if many)
        if not said and self.crashes:
            return f"0; its kernel crashed {_times(self.crashes)}"
        return f"{self.count}: {said}" if said else ""

    @property
    def is_loop(self) -> bool:
        """Whether the guest reboots again and again."""
        return self.by_itself >= LOOP

    @property
    def sentences(self) -> tuple[str, ...]:
        """What is wrong with that; nothing where each was asked for."""
        crashed = f"its kernel crashed {_times(self.crashes)}" if self.crashes else ""
        if not self.by_itself:
            return (f"The guest's kernel crashed {_times(self.crashes)}.",) if crashed else ()
        why = f", and {crashed}" if crashed else ""
        loop = ": it was in a loop" if self.is_loop else ""
        return (f"The guest rebooted {_times(self.by_itself)} by itself{why}{loop}.",)


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
