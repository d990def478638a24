"""Whatever comes from outside is read or refused: kept inputs each time, and a few hundred new ones."""

from __future__ import annotations

import random

import pytest

from tests.fuzz.mutation import mutated
from tests.fuzz.targets import Target, targets

_INPUTS = 300


@pytest.mark.parametrize("target", targets().values(), ids=lambda target: target.name)
def test_what_once_broke_a_target_does_so_no_more(target: Target) -> None:
    """The corpus holds an input for each fault that was found."""
    for data in target.all_seeds():
        target.work(data)


@pytest.mark.parametrize("target", targets().values(), ids=lambda target: target.name)
def test_changed_bytes_are_read_or_refused(target: Target) -> None:
    """The same inputs each time: what is found goes on from ``python -m tests.fuzz``."""
    chance, seeds = random.Random(target.name), target.all_seeds()
    for _ in range(_INPUTS):
        target.work(mutated(seeds, chance))
