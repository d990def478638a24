"""Timer for many moments at once."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

#: Old entries that may stay behind, besides as many as count.
_MOST_LEFT_BEHIND = 1000


class Timer(Generic[K]):
    """Keys and the moments they are due at: one heap, in which a key stands once.

    Setting and popping take logarithmic time; a key that is set anew or removed leaves its old entry
    behind, which is passed over when it comes up, or swept out when there are many of them.
    """

    __slots__ = ("_counter", "_entries", "_heap")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, K]] = []
        # The number of the entry that counts, by key.
        self._entries: dict[K, int] = {}
        self._counter = itertools.count()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: K) -> bool:
        return key in self._entries

    def set(self, key: K, at: float) -> None:
        """Set the moment a key is due at."""
        number = next(self._counter)
        self._entries[key] = number
        heapq.heappush(self._heap, (at, number, key))

    def remove(self, key: K) -> None:
        """Remove a key. Does nothing where it is not there."""
        self._entries.pop(key, None)
        if len(self._heap) > 2 * len(self._entries) + _MOST_LEFT_BEHIND:
            self._heap = [entry for entry in self._heap if self._entries.get(entry[2]) == entry[1]]
            heapq.heapify(self._heap)

    def next_due(self) -> float | None:
        """Moment of the first key."""
        heap = self._heap
        while heap and self._entries.get(heap[0][2]) != heap[0][1]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def pop_due(self, now: float) -> list[tuple[float, int, K]]:
        """Remove and return all that is due, the earliest first: moment, number, key.

        The entries themselves are returned: ten thousand new ones would set off a collection of garbage,
        which takes ten times as long as the rest.
        """
        heap, entries, found = self._heap, self._entries, []
        while heap and heap[0][0] <= now:
            entry = heapq.heappop(heap)
            if entries.get(entry[2]) == entry[1]:
                del entries[entry[2]]
                found.append(entry)
        return found
