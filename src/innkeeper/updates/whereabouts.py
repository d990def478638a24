"""Where machines are now that were taken to another host, or are defined on several."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from innkeeper.machines.machine import OFF, Machine


class Whereabouts:
    """The machines of all hosts that answer, by what bookings call them."""

    def __init__(self, machines: Iterable[Machine]) -> None:
        self._by_key: dict[str, Machine] = {}
        self._by_uuid: dict[str, list[Machine]] = defaultdict(list)
        for machine in machines:
            self._by_key[machine.key] = machine
            self._by_uuid[machine.uuid].append(machine)

    def of(self, key: str) -> Machine | None:
        """The machine where it is: it goes by its UUID to the host that has it, or on which it is on."""
        here = self._by_key.get(key)
        if here is not None and (here.state not in OFF or not here.also_on):
            return here
        there = [each for each in self._by_uuid.get(key.rpartition("/")[2], ()) if each is not here]
        if here is not None:
            there = [each for each in there if each.state not in OFF]
        return there[0] if len(there) == 1 else here
