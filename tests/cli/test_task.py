"""``innkeeper task``: follow, wait, cancel, and what a busy machine answers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from innkeeper.errors import MachineBusy
from tests.serving import Service


@pytest.fixture
def slow_service(tmp_path: Path) -> Iterator[Service]:
    """A service whose simulated guests take their time: a task of theirs runs while the test looks at it."""
    mine = Service(tmp_path, speed=1)
    mine.start()
    yield mine
    mine.end()


def test_a_busy_machine_names_the_task_that_holds_it(slow_service: Service) -> None:
    """By number, to people and to programs, and the second task is never made."""
    slow_service.run("machine", "shutdown", "db-1", "--no-wait")
    refused = slow_service.run("machine", "save", "db-1")
    assert refused.code == 4
    assert "ERROR_BUSY" in refused.err
    assert "task 1" in refused.err.lower()
    with slow_service.connect() as inn, pytest.raises(MachineBusy) as busy:
        inn.machines["db-1"].turn_off()
    assert (busy.value.machine, busy.value.task_id) == ("db-1", 1)
    assert [
        task["id"] for task in json.loads(slow_service.run("task", "list", "--all", "--json").out)["tasks"]
    ] == [1]
    assert json.loads(slow_service.run("machine", "show", "db-1", "--json").out)["task_id"] == 1


def test_a_running_task_is_listed_shown_and_waited_for(slow_service: Service) -> None:
    """A wait that runs out has an exit code of its own, and the task goes on."""
    slow_service.run("machine", "shutdown", "db-1", "--no-wait")
    listed = slow_service.run("task", "list").out
    assert listed.splitlines()[0].split() == ["TASK", "WHAT", "PHASE", "STARTED", "BY"]
    assert max(map(len, listed.splitlines())) <= 80
    assert "Holds" in slow_service.run("task", "show", "1").out
    assert slow_service.run("task", "wait", "1", "--timeout", "0s").code == 8
    assert slow_service.run("task", "watch", "1").code == 0
    assert slow_service.run("task", "wait", "1").code == 0


def test_an_update_run_is_cancelled_and_everything_put_back(slow_service: Service) -> None:
    """The command waits for the effect; whoever waits for the task learns that it was cancelled."""
    slow_service.run("window", "add", "now", "--now", "--for", "12h")
    slow_service.run("update", "book", "web-1", "--identifier", "x")
    task_id = _task_of_the_run(slow_service)
    cancelled = slow_service.run("task", "cancel", str(task_id))
    assert cancelled.code == 0, cancelled
    assert "puts everything back" in cancelled.err
    assert slow_service.run("task", "wait", str(task_id)).code == 7
    detail = json.loads(slow_service.run("update", "show", "web-1", "x", "--json").out)
    assert detail["update"]["verdict"] in ("rolled_back", "not_started")
    assert json.loads(slow_service.run("machine", "show", "web-1", "--json").out)["state"] == "RUNNING"


def _task_of_the_run(service: Service) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        (update,) = json.loads(service.run("update", "list", "--json").out)["updates"]
        if update["task_id"] is not None and update["task"]["is_cancelable"]:
            return int(update["task_id"])
        time.sleep(0.05)
    raise AssertionError("the run did not start")
