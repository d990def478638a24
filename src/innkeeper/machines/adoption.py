"""Find the machines of what was written down before machines had keys."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import structlog

from innkeeper.errors import InnkeeperError
from innkeeper.machines.service import Machines
from innkeeper.tasks.waiting import Signal
from innkeeper.wire.events import Event, EventKind

_log = structlog.get_logger(__name__)


class AdoptionStore(Protocol):
    """What was written down of machines by their names alone."""

    async def names(self) -> Collection[str]:
        """The names of machines of which rows without a key are kept."""

    async def adopt(self, name: str, key: str) -> None:
        """Give a machine's rows its key."""


class Adoption:
    """Gives rows their machines' keys: at the start, and whenever a host comes that may have them.

    A name that several machines have by now is left alone: nobody can know whose rows those are.
    """

    def __init__(self, machines: Machines, *stores: AdoptionStore) -> None:
        self._machines = machines
        self._stores = stores
        self._woken = Signal()

    def on_event(self, event: Event) -> None:
        """Note that a host has come."""
        if event.kind is EventKind.HOST_CONNECTED:
            self._woken.set()

    async def run(self) -> None:
        """Look whenever a host has come, for as long as it is not cancelled."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            try:
                await self.adopt()
            except InnkeeperError as error:
                _log.warning("machines_not_adopted", error=str(error))

    async def adopt(self) -> None:
        """Give all rows without a key theirs whose machines are there."""
        named = [(store, await store.names()) for store in self._stores]
        if any(names for _, names in named):
            await self._machines.list()
        for store, names in named:
            for name in names:
                places = self._machines.places.resolve(name)
                if len(places) == 1:
                    await store.adopt(name, places[0].key)
