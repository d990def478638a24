"""Reasons why bookings wait, and when they may start next: planned when asked, and written nowhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence, Set

from innkeeper.tasks.ports import Clock
from innkeeper.updates.booking import Booking
from innkeeper.updates.outlook import Lookout
from innkeeper.updates.placement import Placement
from innkeeper.updates.roster import Key, Roster

#: How long a plan answers, where nothing has changed on its host.
_FRESH_SECONDS = 2.0


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Answer:
    """The plan of one host at one moment."""

    at: float
    version: int
    placements: Mapping[Key, Placement]


class Reasons:
    """Why each booking waits, by the plan of its host at this moment."""

    def __init__(self, *, roster: Roster, lookout: Lookout, clock: Clock) -> None:
        self._roster = roster
        self._lookout = lookout
        self._clock = clock
        self._answers: dict[str, _Answer] = {}

    async def explain(self, bookings: Sequence[Booking], skips: Mapping[Key, int]) -> Sequence[Booking]:
        """The same bookings, each that waits with its reason and its next chance."""
        waiting = [booking for booking in bookings if booking.is_waiting]
        if not waiting:
            return bookings
        await self._roster.hear_of(waiting)
        asked = {(booking.of, booking.identifier) for booking in waiting}
        for host in self._hosts_of(asked):
            await self._roster.refresh(host, but=self._roster.silent)
        # Where they are by now: one whose host was away may have been found.
        placed = await self._placed(asked, skips)
        if unplaced := asked - placed.keys():
            # Meanwhile their host has fallen silent, or they were taken to another.
            placed |= await self._placed(unplaced, skips)
        return [
            _explained(booking, placed.get(key))
            if (key := (booking.of, booking.identifier)) in asked
            else booking
            for booking in bookings
        ]

    def _hosts_of(self, keys: Iterable[Key]) -> Set[str]:
        return {self._roster.host_of(machine) for machine, _ in keys}

    async def _placed(self, keys: Set[Key], skips: Mapping[Key, int]) -> dict[Key, Placement]:
        plans = {host: await self._plan(host, skips) for host in self._hosts_of(keys)}
        found = {key: plans.get(self._roster.host_of(key[0]), {}).get(key) for key in keys}
        return {key: placement for key, placement in found.items() if placement is not None}

    async def _plan(self, host: str, skips: Mapping[Key, int]) -> Mapping[Key, Placement]:
        known, version, at = self._answers.get(host), self._roster.versions[host], self._clock.monotonic()
        if known is None or known.version != version or at - known.at > _FRESH_SECONDS:
            outlook = await self._lookout.look([host], self._clock.now(), skips)
            placements = {p.candidate.key: p for p in await outlook.plan(outlook.now)}
            known = self._answers[host] = _Answer(at=at, version=version, placements=placements)
        return known.placements


def _explained(booking: Booking, found: Placement | None) -> Booking:
    reason, chance = ("", None) if found is None else (found.reason, found.next_chance)
    return dataclasses.replace(booking, reason=reason, next_chance=chance)
