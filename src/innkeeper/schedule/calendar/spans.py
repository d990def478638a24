"""Stretches of time, apart and in order."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

#: After every instant there is.
FOREVER = 1 << 62


class Spans:
    """Stretches of time, each from an instant up to another, merged where they touch."""

    __slots__ = ("_begins", "_ends")

    def __init__(self, spans: Iterable[tuple[int, int]] = ()) -> None:
        self._begins: list[int] = []
        self._ends: list[int] = []
        for begin, end in sorted(spans):
            if begin >= end:
                continue
            if self._ends and begin <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], end)
            else:
                self._begins.append(begin)
                self._ends.append(end)

    def __bool__(self) -> bool:
        return bool(self._begins)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(zip(self._begins, self._ends, strict=True))

    def free_from(self, instant: int) -> int | None:
        """The first instant from this one on that no stretch covers; ``None`` where there is none."""
        at = bisect_right(self._begins, instant) - 1
        if at < 0 or instant >= self._ends[at]:
            return instant
        end = self._ends[at]
        return None if end >= FOREVER else end

    def gaps(self) -> Spans:
        """All the time between the stretches."""
        begins = [-FOREVER, *self._ends]
        ends = [*self._begins, FOREVER]
        return Spans(zip(begins, ends, strict=True))
