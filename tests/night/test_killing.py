"""A slice of the campaign that kills anything, anywhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.night.killing import Campaign, table
from tests.night.kills import catalogue

_ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trial", "kills"),
    [("simulated", 10), ("images", 6), pytest.param("storages", 2, marks=pytest.mark.qemu)],
)
def test_nothing_is_lost_whatever_is_killed(trial: str, kills: int, tmp_path: Path) -> None:
    """Chains, contents, definitions, verdicts and leftovers are as they should be after every trial.

    In a process of its own: trials fork, and one with libvirt open in it cannot open another in its fork.
    """
    results = tmp_path / "results"
    words = ["--trial", trial, "--kills", str(kills), "--seed", "5", "--seconds", "120"]
    command = [sys.executable, "-m", "tests.night.killing", *words, "--results", str(results)]
    ended = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    lines = Campaign(seed=5, trials=[trial], results=results).lines()
    assert sum(len(line["kills"]) for line in lines) >= kills
    assert [line for line in table(lines) if "FAILED" in line] == []


def test_a_campaign_goes_on_where_it_ended(tmp_path: Path) -> None:
    """The results file says which trials are done, and how many kills there were."""
    campaign = Campaign(seed=6, trials=["simulated"], results=tmp_path / "results")
    campaign.run(2, seconds=60)
    numbers = [line["number"] for line in campaign.lines()]
    campaign.run(2, seconds=60)
    assert [line["number"] for line in campaign.lines()] == numbers
    campaign.run(4, seconds=60)
    assert [line["number"] for line in campaign.lines()] == [*range(len(campaign.lines()))]
    assert set(catalogue.TRIALS) >= {"simulated", "storages", "images"}
