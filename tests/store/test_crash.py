"""Kill -9 of the service while tasks run, on the real store and engine."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from innkeeper.store.database import Database
from innkeeper.store.task_store import SqlTaskStore
from innkeeper.tasks.task import TaskResult

PROGRAM = Path(__file__).with_name("service_process.py")
TASKS = 6
STEPS = 60
STEP_SECONDS = 0.04
KILLS = 6


def service(url: sa.URL, effects: Path) -> subprocess.Popen[bytes]:
    """A service process, just started."""
    address = url.render_as_string(hide_password=False)
    return subprocess.Popen(
        [sys.executable, PROGRAM, address, effects, str(TASKS), str(STEPS), str(STEP_SECONDS)],
        stderr=subprocess.PIPE,
    )


def run_until_killed(url: sa.URL, effects: Path, seconds: float | None) -> bool:
    """Run the service, for so many seconds at most; whether it ended by itself."""
    process = service(url, effects)
    try:
        assert process.wait(seconds) == 0
    except subprocess.TimeoutExpired:
        return False
    else:
        return True
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
async def test_no_task_is_lost_and_no_done_step_is_repeated(database_url: sa.URL, tmp_path: Path) -> None:
    """Killed at random moments: every task ends well, and only the step in flight is done again."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    effects = tmp_path / "effects"
    kills = 0
    while kills < KILLS and not run_until_killed(database_url, effects, moments.uniform(0.7, 3.0)):
        kills += 1
    assert kills == KILLS or kills > 2, "the tasks ended before they were killed often enough to tell"
    assert run_until_killed(database_url, effects, 120)

    database = await Database.connect(database_url)
    ended = await SqlTaskStore(database).list()
    await database.close()
    assert [task.result for task in ended] == [TaskResult.SUCCESS] * TASKS
    assert {task.percent_completed for task in ended} == {100}
    for task in ended:
        done = [
            int(line.split()[1])
            for line in effects.read_text().splitlines()
            if line.startswith(f"{task.id} ")
        ]
        assert sorted(set(done)) == list(range(STEPS)), f"task {task.id} lost a step"
        assert done == sorted(done), f"task {task.id} went back behind a recorded step"
        assert len(done) - STEPS <= kills, f"task {task.id} repeated more than the step in flight"


def test_ctrl_c_ends_the_service_within_two_seconds(database_url: sa.URL, tmp_path: Path) -> None:
    """Even where nobody closes it in order, and its tasks go on when it is started again."""
    effects = tmp_path / "effects"
    process = service(database_url, effects)
    while not effects.exists() or len(effects.read_text().splitlines()) < 3 * TASKS:
        assert process.poll() is None
        time.sleep(0.05)
    before = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert time.monotonic() - before < 2
    done = len(effects.read_text().splitlines())
    assert done < TASKS * STEPS
    assert run_until_killed(database_url, effects, 120)
    lines = effects.read_text().splitlines()
    assert len(set(lines)) == TASKS * STEPS
    assert len(lines) <= TASKS * STEPS + TASKS
