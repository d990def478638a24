"""A prediction covers the next run as often as it promises, or falls back to what is known of others."""

from __future__ import annotations

import datetime as dt
import random

from innkeeper.updates.durations import Durations, covering
from innkeeper.updates.ports import PastRun


def test_the_quantile_covers_the_next_run_as_often_as_promised() -> None:
    """Nineteen runs cover the twentieth in 95 of 100 cases, whatever the distribution."""
    chance = random.Random(1)
    trials = 4000
    covered = 0
    for _ in range(trials):
        runs = [chance.lognormvariate(6, 0.7) for _ in range(20)]
        bound = covering(runs[:19], 0.95)
        assert bound is not None
        covered += runs[19] <= bound
    assert 0.93 < covered / trials < 0.97


def test_too_few_runs_promise_nothing() -> None:
    """Eighteen cannot cover 95 of 100."""
    assert covering([1.0] * 18, 0.95) is None
    assert covering([1.0] * 19, 0.95) == 1.0


def past(machine: str, label: str, seconds: float, count: int) -> list[PastRun]:
    return [PastRun(machine=machine, label=label, seconds=seconds)] * count


def test_who_has_no_history_is_predicted_from_others() -> None:
    """The machine with this label, else the label, else all, else the default."""
    runs = [*past("a", "kernel", 100, 4), *past("b", "kernel", 200, 4), *past("c", "office", 50, 2)]
    durations = Durations(runs, share=0.75, default_seconds=1800)
    assert durations.predict("a", "kernel") == dt.timedelta(seconds=100)
    assert durations.predict("z", "kernel") == dt.timedelta(seconds=200)
    assert durations.predict("z", "unheard of") == dt.timedelta(seconds=200)
    assert Durations([], share=0.75, default_seconds=1800).predict("a", "kernel") == dt.timedelta(
        seconds=1800
    )
