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
STEPS = 40
STEP_SECONDS = 0.04
KILLS = 6


def service(url: sa.URL, effects: Path, server: str = "one") -> subprocess.Popen[bytes]:
    """A service process, just started."""
    address = url.render_as_string(hide_password=False)
    return subprocess.Popen(
        [sys.executable, PROGRAM, address, effects, str(TASKS), str(STEPS), str(STEP_SECONDS), server],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def run_until_killed(url: sa.URL, effects: Path, seconds: float | None) -> bool:
    """Run the service, for so many seconds at most; whether it ended by itself."""
    process = service(url, effects)
    try:
        message, _ = process.communicate(timeout=seconds)
        assert process.returncode == 0, message.decode()
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
    for kill in range(KILLS):
        process = service(database_url, effects)
        until_lines(process, effects, int(TASKS * STEPS * (kill + moments.random()) / (KILLS + 1)))
        time.sleep(moments.uniform(0, 2 * STEP_SECONDS))
        process.kill()
        process.communicate()
    assert run_until_killed(database_url, effects, 120)

    await check(database_url, effects, KILLS)


async def test_a_dead_server_s_tasks_wait_for_it(postgres_database: sa.URL, tmp_path: Path) -> None:
    """A peer that cannot reach their machines takes none; when the server is back, it goes on with all."""
    effects = tmp_path / "effects"
    one = service(postgres_database, effects, "one")
    until_lines(one, effects, 3 * TASKS)
    two = service(postgres_database, effects, "two")
    until_lines(two, effects, 12 * TASKS)
    one.kill()
    one.communicate()
    begun = len(effects.read_text().splitlines())
    assert begun < TASKS * STEPS
    time.sleep(3)  # three times as long as a queue may go unseen
    assert two.poll() is None
    assert len(effects.read_text().splitlines()) == begun
    assert run_until_killed(postgres_database, effects, 120)
    assert two.wait(timeout=60) == 0
    await check(postgres_database, effects, 1)


async def check(url: sa.URL, effects: Path, kills: int) -> None:
    """Every task has ended well, its steps done in order, none but those in flight repeated."""
    database = await Database.connect(url)
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


def until_lines(process: subprocess.Popen[bytes], effects: Path, count: int) -> None:
    """Wait until so many steps have begun."""
    while not effects.exists() or len(effects.read_text().splitlines()) < count:
        assert process.poll() is None
        time.sleep(0.02)


def test_ctrl_c_ends_the_service_before_its_tasks_are_done(database_url: sa.URL, tmp_path: Path) -> None:
    """Even where nobody closes it in order, and its tasks go on when it is started again."""
    effects = tmp_path / "effects"
    process = service(database_url, effects)
    until_lines(process, effects, 3 * TASKS)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    done = len(effects.read_text().splitlines())
    assert done < TASKS * STEPS
    assert run_until_killed(database_url, effects, 120)
    lines = effects.read_text().splitlines()
    assert len(set(lines)) == TASKS * STEPS
    assert len(lines) <= TASKS * STEPS + TASKS
