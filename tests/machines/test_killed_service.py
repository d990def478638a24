"""A service killed at random instants leaves no task in a wrong state, no lost disk, no orphan file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.machines.killing import kill_again_and_again


@pytest.mark.slow
def test_a_killed_service_takes_up_all_that_it_had_begun(tmp_path: Path) -> None:
    """Random commands on simulated machines, cut short a few times."""
    report = kill_again_and_again(tmp_path, kills=3, fake=4, real=0, seed=1)
    assert report["faults"] == [], report
    assert report["tasks"]


@pytest.mark.slow
@pytest.mark.qemu
def test_a_killed_service_takes_up_what_it_had_begun_on_qemu(tmp_path: Path) -> None:
    """The same on a real machine: saves, restores, undo disks, merges."""
    report = kill_again_and_again(tmp_path, kills=3, fake=0, real=1, seed=2)
    assert report["faults"] == [], report
    assert report["tasks"]
