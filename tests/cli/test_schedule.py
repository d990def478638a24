"""The verbs of ``innkeeper schedule``: on files with no service, and on the tasks of one."""

from __future__ import annotations

import json
from pathlib import Path

import icalendar
import pytest
from typer.testing import CliRunner, Result

from innkeeper.cli.app import app
from tests.serving import Service

GOOD = """<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <Triggers><CalendarTrigger><StartBoundary>2022-01-01T02:30:00</StartBoundary>
    <ScheduleByWeek><DaysOfWeek><Sunday /></DaysOfWeek></ScheduleByWeek></CalendarTrigger></Triggers>
  <Data><i:Schedule xmlns:i="urn:innkeeper:schedule:1" zone="America/Los_Angeles" exclude="freeze" /></Data>
  <Actions><Exec><Command>x</Command></Exec></Actions>
</Task>"""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments])


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "night.xml"
    path.write_bytes(b"\xff\xfe" + GOOD.encode("utf-16-le"))
    return path


@pytest.fixture
def freeze(tmp_path: Path) -> Path:
    path = tmp_path / "freeze.ics"
    calendar = icalendar.Calendar()
    event = icalendar.Event.from_ical(
        "BEGIN:VEVENT\r\nDTSTART;VALUE=DATE:20220320\r\nDTEND;VALUE=DATE:20220328\r\nEND:VEVENT\r\n"
    )
    calendar.add_component(event)
    path.write_bytes(calendar.to_ical())
    return path


def test_a_valid_file_is_said_to_be_valid(good: Path) -> None:
    """No deviation, no failure."""
    message = run("schedule", "validate", good)
    assert message.exit_code == 0
    assert "valid" in message.output


def test_each_deviation_is_printed_with_its_place(tmp_path: Path) -> None:
    """File, line and column, as a compiler does, and exit code 1; --json gives the same as data."""
    bad = tmp_path / "bad.xml"
    bad.write_text(GOOD.replace("<Command>x", "<Novel/><Command>x").replace(' encoding="UTF-16"', ""))
    assert run("schedule", "validate", bad).exit_code == 0
    assert run("schedule", "validate", "--strict", bad).exit_code == 1
    bad.write_text(bad.read_text().replace("Sunday", "sunday"))
    message = run("schedule", "validate", bad)
    assert message.exit_code == 1
    assert f"{bad}:4:33: error sunday" in message.output
    assert f"{bad}:6:18: warning Novel" in message.output
    places = json.loads(run("schedule", "validate", "--json", bad).output)
    assert [(place["node"], place["code"], place["forgiven"]) for place in places] == [
        ("sunday", "SCHED_E_UNEXPECTEDNODE", False),
        ("Novel", "SCHED_E_UNEXPECTEDNODE", True),
    ]


def test_next_shows_the_calendar_across_a_change_of_the_clock(good: Path, freeze: Path) -> None:
    """The documented night is shown at 03:00, and the frozen week is left out."""
    message = run(
        "schedule",
        "next",
        good,
        "--from",
        "2022-03-12",
        "--days",
        30,
        "--calendar",
        f"freeze={freeze}",
        "--json",
    )
    assert message.exit_code == 0, message.output
    (task,) = json.loads(message.output)
    assert task == {
        "task": "night",
        "runs": ["2022-03-13T03:00:00-07:00", "2022-04-03T02:30:00-07:00", "2022-04-10T02:30:00-07:00"],
    }


def test_next_is_also_a_calendar_file(good: Path, freeze: Path) -> None:
    """A person's calendar reads it, and reading it again makes no second event."""
    arguments = ["--from", "2022-03-12", "--days", "10", "--calendar", f"freeze={freeze}", "--ical"]
    events = icalendar.Calendar.from_ical(run("schedule", "next", good, *arguments).output).walk("VEVENT")
    assert [str(event["SUMMARY"]) for event in events] == ["night"]
    assert events[0].decoded("DTSTART").isoformat() == "2022-03-13T10:00:00+00:00"
    again = icalendar.Calendar.from_ical(run("schedule", "next", good, *arguments).output).walk("VEVENT")
    assert [event["UID"] for event in again] == [event["UID"] for event in events]


def test_a_calendar_that_is_missing_is_an_error(good: Path) -> None:
    """Without its freeze the schedule is not shown as if there were none."""
    assert run("schedule", "next", good).exit_code != 0


def test_public_holidays_are_a_calendar(good: Path) -> None:
    """A Sunday that is a holiday in Bavaria is left out."""
    arguments = ["--from", "2025-04-19", "--days", "10", "--json", "--calendar", "freeze=holidays:DE-BW"]
    message = run("schedule", "next", good, *arguments)
    assert message.exit_code == 0, message.output
    assert "2025-04-27T02:30:00-07:00" in message.output


def test_a_deviation_is_shown_with_a_caret_under_its_column(tmp_path: Path) -> None:
    """The line as it stands, and where in it; a long line is cut around the place."""
    bad = tmp_path / "bad.xml"
    text = GOOD.replace(' encoding="UTF-16"', "").replace("Sunday", "sunday")
    bad.write_text(text)
    lines = run("schedule", "validate", bad).output.splitlines()
    at = next(number for number, line in enumerate(lines) if "error sunday" in line)
    assert "    4 |     <ScheduleByWeek><DaysOfWeek><sunday />" in lines[at + 1]
    assert lines[at + 2].index("^") == lines[at + 1].index("<sunday")


# With a service


def ok(service: Service, *arguments: str) -> str:
    ended = service.run("schedule", *arguments)
    assert ended.code == 0, ended
    return ended.out


def test_a_task_is_added_shown_run_and_forgotten(service: Service) -> None:
    """From the rule on the command line to its history, in words and as JSON."""
    path = "\\Cli\\Greet"
    message = ok(
        service, "add", path, "--daily", "02:00", "--zone", "Europe/Paris", "--description", "Says hello",
        "--", "/bin/echo", "good night", "$(Arg0)",
    )  # fmt: skip
    assert f"{path} is registered." in message
    assert "every day at 02:00" in message
    assert message.count(" 02:00 ") >= 3, "the next runs are shown"
    refused = service.run("schedule", "add", path, "--daily", "03:00", "--", "/bin/true")
    assert refused.code != 0
    assert "already" in refused.err
    assert json.loads(ok(service, "add", path, "--dry-run", "--json", "--", "/bin/true"))["valid"]

    task = json.loads(ok(service, "run", path, "you there", "--json"))["task_id"]
    assert service.run("task", "watch", str(task)).code == 0
    assert "good night you there" in service.run("task", "log", str(task)).out
    (entry,) = json.loads(ok(service, "history", path, "--json"))["runs"]
    assert (entry["state"], entry["result"], entry["task_id"]) == ("finished", 0, task)
    assert path in ok(service, "history", "--search", "cli\\greet")
    assert path not in ok(service, "history", "--search", "cli\\greet", "--state", "failed")

    shown = ok(service, "show", path)
    for words in ("every day at 02:00", "Europe/Paris", "/bin/echo 'good night' '$(Arg0)'", "Says hello"):
        assert words in shown
    assert "is disabled" in ok(service, "disable", path)
    assert json.loads(ok(service, "next", "--json")) == []
    assert "is enabled" in ok(service, "enable", path)
    (runs,) = json.loads(ok(service, "next", path, "--days", "3", "--json"))
    assert (runs["task"], len(runs["runs"])) == (path, 3)
    assert path in ok(service, "next", "--days", "2")
    assert "SUMMARY:\\\\Cli\\\\Greet" in ok(service, "next", path, "--days", "2", "--ical")
    assert path in ok(service, "list", "--all")
    assert "is deleted" in ok(service, "delete", path, "--yes")
    assert service.run("schedule", "show", path).code == 3
    ok(service, "folder", "remove", "\\Cli")


def test_folders_are_added_listed_and_removed(service: Service) -> None:
    """With those around them; one that is not empty stays."""
    ok(service, "folder", "add", "\\Cli\\Deep")
    assert "\\Cli\\Deep" in ok(service, "folder", "list")
    refused = service.run("schedule", "folder", "remove", "\\Cli")
    assert refused.code == 1
    assert "not empty" in refused.err
    ok(service, "folder", "remove", "\\Cli\\Deep")
    ok(service, "folder", "remove", "\\Cli")


def test_a_definition_goes_in_and_comes_out(service: Service, tmp_path: Path) -> None:
    """What is exported is valid, and says what was imported; an operation is named in words."""
    imported = ok(service, "import", "\\Cli-in", str(_plain(tmp_path)))
    assert "is registered" in imported
    out = tmp_path / "out.xml"
    ok(service, "export", "\\Cli-in", str(out))
    assert out.read_bytes().startswith(b"\xff\xfe")
    assert "valid" in ok(service, "validate", str(out))
    ok(service, "delete", "\\Cli-in", "--yes")
    when = ("--weekly", "sun", "--at", "03:00")
    made = ok(service, "add", "\\Cli-save", *when, "--operation", "save", "--on", "web-1")
    assert "save web-1" in made
    ok(service, "delete", "\\Cli-save", "--yes")


def _plain(directory: Path) -> Path:
    path = directory / "plain.xml"
    path.write_text(GOOD.replace(' encoding="UTF-16"', "").replace(' exclude="freeze"', ""))
    return path


def test_a_task_is_paused_resumed_and_guarded(service: Service) -> None:
    """What stands still goes on; a descriptor is shown, set, enforced and taken back."""
    path = "\\Control\\Sleep"
    ok(service, "add", path, "--daily", "02:00", "--", "/bin/sleep", "600")
    nothing = service.run("schedule", "pause", path)
    assert nothing.code != 0
    assert "No instance of" in nothing.err
    ok(service, "run", path)
    assert "stands still (one instance)" in ok(service, "pause", path)
    assert "goes on" in ok(service, "resume", path)
    ok(service, "stop", path)
    assert "(A;;FA;;;BA)" in ok(service, "permissions", path)
    ok(service, "permissions", path, "D:(D;;FX;;;AU)(A;;FR;;;AU)")
    assert "may not start or stop" in service.run("schedule", "run", path).err
    assert "is not a right" in service.run("schedule", "permissions", path, "D:(A;;XX;;;AU)").err
    assert not json.loads(ok(service, "permissions", "--json", path, ""))["is_own"]
    ok(service, "delete", "--yes", path)
