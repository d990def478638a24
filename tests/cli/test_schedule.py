"""The offline verbs of ``innkeeper schedule`` work on files, with no service."""

import json
from pathlib import Path

import icalendar
import pytest
from typer.testing import CliRunner

from innkeeper.cli.app import app

GOOD = """<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <Triggers><CalendarTrigger><StartBoundary>2022-01-01T02:30:00</StartBoundary>
    <ScheduleByWeek><DaysOfWeek><Sunday /></DaysOfWeek></ScheduleByWeek></CalendarTrigger></Triggers>
  <Data><i:Schedule xmlns:i="urn:innkeeper:schedule:1" zone="America/Los_Angeles" exclude="freeze" /></Data>
  <Actions><Exec><Command>x</Command></Exec></Actions>
</Task>"""


def run(*arguments: object):
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


def test_a_valid_file_is_said_to_be_valid(good):
    """No deviation, no failure."""
    said = run("schedule", "validate", good)
    assert said.exit_code == 0
    assert "valid" in said.output


def test_each_deviation_is_printed_with_its_place(tmp_path):
    """File, line and column, as a compiler does, and exit code 1; --json gives the same as data."""
    bad = tmp_path / "bad.xml"
    bad.write_text(GOOD.replace("<Command>x", "<Novel/><Command>x").replace(' encoding="UTF-16"', ""))
    assert run("schedule", "validate", bad).exit_code == 0
    assert run("schedule", "validate", "--strict", bad).exit_code == 1
    bad.write_text(bad.read_text().replace("Sunday", "sunday"))
    said = run("schedule", "validate", bad)
    assert said.exit_code == 1
    assert f"{bad}:4:33: error sunday" in said.output
    assert f"{bad}:6:18: warning Novel" in said.output
    places = json.loads(run("schedule", "validate", "--json", bad).output)
    assert [(place["node"], place["code"], place["forgiven"]) for place in places] == [
        ("sunday", "SCHED_E_UNEXPECTEDNODE", False),
        ("Novel", "SCHED_E_UNEXPECTEDNODE", True),
    ]


def test_next_shows_the_calendar_across_a_change_of_the_clock(good, freeze):
    """The documented night is shown at 03:00, and the frozen week is left out."""
    said = run(
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
    assert said.exit_code == 0, said.output
    (task,) = json.loads(said.output)
    assert task == {
        "task": "night",
        "runs": ["2022-03-13T03:00:00-07:00", "2022-04-03T02:30:00-07:00", "2022-04-10T02:30:00-07:00"],
    }


def test_next_is_also_a_calendar_file(good, freeze):
    """A person's calendar reads it, and reading it again makes no second event."""
    arguments = ["--from", "2022-03-12", "--days", "10", "--calendar", f"freeze={freeze}", "--ical"]
    events = icalendar.Calendar.from_ical(run("schedule", "next", good, *arguments).output).walk("VEVENT")
    assert [str(event["SUMMARY"]) for event in events] == ["night"]
    assert events[0].decoded("DTSTART").isoformat() == "2022-03-13T10:00:00+00:00"
    again = icalendar.Calendar.from_ical(run("schedule", "next", good, *arguments).output).walk("VEVENT")
    assert [event["UID"] for event in again] == [event["UID"] for event in events]


def test_a_calendar_that_is_missing_is_an_error(good):
    """Without its freeze the schedule is not shown as if there were none."""
    assert run("schedule", "next", good).exit_code != 0


def test_public_holidays_are_a_calendar(good):
    """A Sunday that is a holiday in Bavaria is left out."""
    arguments = ["--from", "2025-04-19", "--days", "10", "--json", "--calendar", "freeze=holidays:DE-BW"]
    said = run("schedule", "next", good, *arguments)
    assert said.exit_code == 0, said.output
    assert "2025-04-27T02:30:00-07:00" in said.output
