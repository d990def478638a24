"""Predict how long an update run will take, from how long such runs took."""

from __future__ import annotations

import datetime as dt
import math
from collections import defaultdict, deque
from collections.abc import Collection, Iterable
from typing import Final

from innkeeper.updates.ports import PastRun

#: How many past runs of one kind count; older ones tell of another time.
_REMEMBERED = 20
_NONE: Final = ()
#: More answers than this are forgotten at once: machines and labels come and go.
_ANSWERS: Final = 200_000

#: Machine and label; ``None`` for any.
_Kind = tuple[str | None, str | None]


def covering(past: Collection[float], share: float) -> float | None:
    """The duration that covers the next run with at least this probability, or ``None``.

    The conformal quantile: the ⌈(n+1)·share⌉-th smallest of n past durations. It holds for any
    distribution, as long as the next run is like the past ones; too few of them promise nothing.
    """
    rank = math.ceil((len(past) + 1) * share)
    return sorted(past)[rank - 1] if 0 < rank <= len(past) else None


class Durations:
    """What past runs say: of the machine with this label, else of the label, else of all, else a default."""

    def __init__(self, past: Iterable[PastRun], *, share: float, default_seconds: float) -> None:
        """``past`` comes newest first."""
        self._share = share
        self._default_seconds = default_seconds
        self._kinds: dict[_Kind, deque[float]] = defaultdict(lambda: deque(maxlen=_REMEMBERED))
        self._known: dict[_Kind, float | None] = {}
        #: What was answered since a run was last learned from.
        self._answers: dict[tuple[str, str], dt.timedelta] = {}
        for run in past:
            for kind in _kinds_of(run):
                if len(self._kinds[kind]) < _REMEMBERED:
                    self._kinds[kind].append(run.seconds)

    def learn(self, run: PastRun) -> None:
        """Add a run that has just ended; the oldest of its kind is forgotten for it."""
        self._answers.clear()
        for kind in _kinds_of(run):
            self._kinds[kind].appendleft(run.seconds)
            self._known.pop(kind, None)

    def predict(self, machine: str, label: str) -> dt.timedelta:
        """Time that the next such run will hardly exceed."""
        answer = self._answers.get((machine, label))
        if answer is None:
            if len(self._answers) >= _ANSWERS:
                self._answers.clear()
                self._known.clear()
            answer = dt.timedelta(seconds=self._seconds(machine, label))
            self._answers[machine, label] = answer
        return answer

    def _seconds(self, machine: str, label: str) -> float:
        for kind in ((machine, label), (None, label), (None, None)):
            seconds = self._covering(kind)
            if seconds is not None:
                return seconds
        return self._default_seconds

    def _covering(self, kind: _Kind) -> float | None:
        if kind not in self._known:
            self._known[kind] = covering(self._kinds.get(kind, _NONE), self._share)
        return self._known[kind]


def _kinds_of(run: PastRun) -> tuple[_Kind, ...]:
    return (run.machine, run.label), (None, run.label), (None, None)
