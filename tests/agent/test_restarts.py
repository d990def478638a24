"""How often services were started again, where their init does not count it."""

from __future__ import annotations

from pathlib import Path

import pytest

from innkeeper.agent.inits.init import Main
from innkeeper.agent.loop import Loop
from innkeeper.agent.places import Places
from innkeeper.agent.restarts import Restarts


@pytest.fixture
def restarts(tmp_path: Path) -> Restarts:
    """Of a guest in which nothing runs."""
    return Restarts(Places(str(tmp_path)), Loop())


def test_another_process_is_a_start_again(restarts: Restarts) -> None:
    """Also where none was seen in between; a process that stays is none."""
    for pid in (7, 7, 9, 0, 0, 12, 12):
        restarts.look({"shop": Main(pid), "web": Main(5)})
    assert restarts.counts() == {"shop": 2}


def test_a_process_that_is_never_seen_leaves_another_mark(restarts: Restarts) -> None:
    """One that dies at once is between two starts at each look."""
    for mark in ("a", "b", "b", "c"):
        restarts.look({"loop": Main(0, mark)})
    assert restarts.counts() == {"loop": 2}


def test_who_was_stopped_by_hand_is_begun_with_anew(restarts: Restarts) -> None:
    """What is not wanted is not told."""
    restarts.look({"shop": Main(7)})
    restarts.look({})
    restarts.look({"shop": Main(9)})
    assert restarts.counts() == {}


def test_nothing_is_watched_where_nothing_is_counted(restarts: Restarts) -> None:
    """A guest of systemd's pays for one look."""
    restarts.watch()
    assert restarts.counts() == {}
