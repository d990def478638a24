"""What the agent remembers."""

from __future__ import annotations

from pathlib import Path

from innkeeper.agent.journal import KEPT_TASKS, MAX_NOTICES, Journal, TaskEntry
from innkeeper.agent.status import Status, may_follow


def test_journal_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Tasks, notices and the count of notices survive."""
    journal = Journal(str(tmp_path / "journal"))
    task = TaskEntry("u1", "Kernel", "boot-1")
    task.status, task.percent, task.packages, task.offset = Status.REBOOTING, 99, [("a", "1", "2")], 17
    journal.tasks["u1"] = task
    journal.add_notice("boot-1", {"tell": "terminated", "hresult": 0})
    journal.save()
    again = Journal(str(tmp_path / "journal"))
    assert again.tasks["u1"].to_json() == task.to_json()
    assert again.notices == journal.notices
    assert again.add_notice("boot-1", {}).number == 2


def test_torn_journal_is_put_aside(tmp_path: Path) -> None:
    """A journal that cannot be read stops nothing, and is kept to be looked at."""
    (tmp_path / "journal").write_text('{"tasks": [')
    journal = Journal(str(tmp_path / "journal"))
    assert journal.tasks == {}
    assert (tmp_path / "journal.broken").exists()


def test_journal_stays_small(tmp_path: Path) -> None:
    """Old ends and old notices go; what lives stays."""
    journal = Journal(str(tmp_path / "journal"))
    for number in range(2 * KEPT_TASKS):
        task = journal.tasks[str(number)] = TaskEntry(str(number), "", "boot-1")
        task.status = Status.SUCCESS if number else Status.APPLYING
    for _ in range(2 * MAX_NOTICES):
        journal.add_notice("boot-1", {})
    journal.save()
    again = Journal(str(tmp_path / "journal"))
    assert [task.identifier for task in again.live_tasks] == ["0"]
    assert len(again.tasks) == KEPT_TASKS + 1
    assert [notice.number for notice in again.notices][-1] == 2 * MAX_NOTICES
    assert len(again.notices) == MAX_NOTICES


def test_only_ends_are_final() -> None:
    """SUCCESS and FAILED are the ends; REBOOTED is none, and every state can end."""
    ends = {Status.SUCCESS, Status.FAILED}
    assert {status for status in Status if status.is_final} == ends
    assert all(may_follow(status, end) for status in set(Status) - ends for end in ends)
    assert not may_follow(Status.APPLYING, Status.SEARCHING)
