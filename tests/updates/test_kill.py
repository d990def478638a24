"""The real service, on its real journal, is killed at every step of one night and still ends it well."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from innkeeper.hypervisor.simulated import disks as fake_disks
from innkeeper.hypervisor.simulated.guests import GuestDisk
from innkeeper.updates.endings import KEEP, ROLL_BACK
from innkeeper.updates.phases import FORWARD
from tests.updates import mortal_service

#: Nothing is to be done in these with a machine that was found running, and so they are no steps.
IDLE = ("baseline after wake", "prepare after wake", "rest", "forget saved state", "jobs")


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("context", "steps", "message", "version"),
    [
        (
            "good",
            [phase.name for phase in (*FORWARD, *KEEP) if phase.name not in IDLE],
            "kept RUNNING",
            "1.0-2",
        ),
        ("bad", [phase.name for phase in ROLL_BACK], "rolled_back RUNNING", "1.0-1"),
    ],
)
def test_a_service_killed_at_every_step_ends_the_night_as_it_should(
    tmp_path: Path, context: str, steps: list[str], message: str, version: str
) -> None:
    """Each step is done twice and dies once in between; simulated guests go on meanwhile."""
    command = [sys.executable, mortal_service.__file__, str(tmp_path), context, ",".join(steps)]
    lives = 0
    while True:
        lives += 1
        ended = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if ended.returncode != -signal.SIGKILL:
            break
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == message.split()
    assert (tmp_path / "deaths").read_text().splitlines() == steps
    assert lives == len(steps) + 1
    assert list(tmp_path.rglob("*.innkeeper-*")) == []
    disk = tmp_path / "fake" / "disks" / "web-1.img"
    assert GuestDisk.from_bytes(fake_disks.read(str(disk))).packages["base"] == version
