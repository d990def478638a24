"""Say where occasions come from: what a source is, and what it says where it has nothing to tell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Protocol

from innkeeper.schedule.registered import Watch
from innkeeper.schedule.running.occasions import Occasion

#: How a source tells of an occasion.
OnOccasion = Callable[[Occasion], Awaitable[None]]


class Source(Protocol):
    """Tells of occasions of some kinds, for as long as the service lives."""

    @property
    def watches(self) -> Watch:
        """The kinds it tells of."""

    @property
    def missing(self) -> str:
        """Why it has nothing to tell on this computer, for a person; empty where it works."""

    async def run(self, on_occasion: OnOccasion) -> None:
        """Tell of occasions until cancelled; returns where there will be none."""


class Sources:
    """All sources of one service."""

    def __init__(
        self, sources: Sequence[Source] = (), *, otherwise: str = "this service does not watch for it"
    ) -> None:
        """``otherwise`` is why there is no source for a kind of occasion."""
        self._sources = tuple(sources)
        self._otherwise = otherwise

    def __iter__(self) -> Iterator[Source]:
        return iter(self._sources)

    def missing(self, watch: Watch) -> str:
        """Why occasions of a kind are not told of here; empty where they are."""
        found = [source.missing for source in self._sources if source.watches & watch]
        if not found:
            return self._otherwise
        return "" if "" in found else found[0]
