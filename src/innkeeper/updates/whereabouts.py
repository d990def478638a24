"""Where machines are now that were taken to another host."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from innkeeper.machines.machine import Machine


class Whereabouts:
    """The machines of all hosts that answer, by what bookings call them."""

    def __init__(self, machines: Iterable[Machine]) -> None:
        self._by_key: dict[str, Machine] = {}
        self._by_uuid: dict[str, list[Machine]] = defaultdict(list)
        for machine in machines:
            self._by_key[machine.key] = machine
            self._by_uuid[machine.uuid].append(machine)

    def of(self, key: str) -> Machine | None:
        """The machine where it is: one that its host has no longer is by its UUID on another.

        What its host still has is there, whatever runs elsewhere: that may be a copy with the same UUID.
        """
        here = self._by_key.get(key)
        if here is not None:
            return here
        there = self._by_uuid.get(key.rpartition("/")[2], ())
        return there[0] if len(there) == 1 else None
