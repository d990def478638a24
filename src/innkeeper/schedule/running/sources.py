"""Sources of occasions, and why one is not available on a computer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Protocol

from innkeeper.schedule.registered import Watch
from innkeeper.schedule.running.occasions import Occasion

#: How a source tells of an occasion.
OnOccasion = Callable[[Occasion], Awaitable[None]]


class Source(Protocol):
    """Source of occasions of some kinds, while the service runs."""

    @property
    def watches(self) -> Watch:
        """The kinds of occasions that the source reports."""

    @property
    def missing(self) -> str:
        """Why the source is not available on this computer; empty where it is."""

    async def run(self, on_occasion: OnOccasion) -> None:
        """Report occasions until cancelled; returns where there will be none."""


class Sources:
    """All sources of one service."""

    def __init__(
        self, sources: Sequence[Source] = (), *, otherwise: str = "this service does not watch for it"
    ) -> None:
        """``otherwise`` is the reason for kinds of occasions without a source."""
        self._sources = tuple(sources)
        self._otherwise = otherwise

    def __iter__(self) -> Iterator[Source]:
        return iter(self._sources)

    def missing(self, watch: Watch) -> str:
        """Return why occasions of a kind are not reported here; empty where they are."""
        found = [source.missing for source in self._sources if source.watches & watch]
        if not found:
            return self._otherwise
        return "" if "" in found else found[0]
