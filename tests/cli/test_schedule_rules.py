"""What people say of when becomes the trigger they mean, or a sentence that says what will not do."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from innkeeper.cli.schedule.rules import When, action_of, subscription, trigger_of
from innkeeper.cli.schedule.words import say_action, say_trigger
from innkeeper.errors import InvalidArgument
from innkeeper.schedule.events.query import Subscription
from innkeeper.schedule.model.actions import ComHandlerAction, ExecAction
from innkeeper.schedule.model.definition import TaskDefinition
from innkeeper.schedule.model.triggers import Trigger

PARIS = ZoneInfo("Europe/Paris")
GUID = "{6F1D2A10-8C0E-4E7B-9C55-1B1F0E5A0005}"
NOW = dt.datetime(2026, 11, 25, 10, 30, tzinfo=dt.UTC)


def rule(**said: Any) -> Trigger:
    """The trigger that these words make."""
    trigger = trigger_of(When(**said), NOW, PARIS)
    assert trigger is not None
    return trigger


def first_runs(count: int = 2, **said: Any) -> list[str]:
    """The first runs of what was said, through the XML that is registered."""
    definition = TaskDefinition.new()
    definition.triggers.append(rule(**said))
    definition.actions.append(ExecAction(path="x"))
    definition.extension.zone = "Europe/Paris"
    again = TaskDefinition.from_xml(definition.to_xml(), strict=True)
    return [f"{run:%a %m-%d %H:%M}" for run in again.run_times(NOW, count=count)]


@pytest.mark.parametrize(
    ("said", "runs", "words"),
    [
        ({"daily": "02:00"}, ["Thu 11-26 02:00", "Fri 11-27 02:00"], "every day at 02:00"),
        ({"daily": "02:00", "interval": 3}, ["Sat 11-28 02:00", "Tue 12-01 02:00"], "every 3 days at 02:00"),
        (
            {"weekly": "sat,Sunday", "at": "23:30"},
            ["Sat 11-28 23:30", "Sun 11-29 23:30"],
            "Sun, Sat at 23:30",
        ),
        (
            {"weekly": "weekdays", "at": "7:05"},
            ["Thu 11-26 07:05", "Fri 11-27 07:05"],
            "Mon, Tue, Wed, Thu, Fri at 07:05",
        ),
        (
            {"monthly": "last fri", "at": "18:00"},
            ["Fri 11-27 18:00", "Fri 12-25 18:00"],
            "the last Fri of every month at 18:00",
        ),
        (
            {"monthly": "2nd tue, fourth", "at": "18:00", "months": "dec,January"},
            ["Tue 12-08 18:00", "Tue 12-22 18:00"],
            "the second, fourth Tue of Jan, Dec at 18:00",
        ),
        (
            {"monthly": "1,15,last"},
            ["Mon 11-30 00:00", "Tue 12-01 00:00"],
            "on day 1, 15, the last of every month at 00:00",
        ),
        ({"once": "fri 02:00"}, ["Fri 11-27 02:00"], "at 2026-11-27 02:00"),
        (
            {"every": "15m", "for_": "1h", "at": "12:00"},
            ["Wed 11-25 12:00", "Wed 11-25 12:15"],
            "at 2026-11-25 12:00, again every 15 min for 1 h",
        ),
        (
            {"daily": "22:00", "every": "1h", "for_": "2h", "until": "2026-12-01 00:00"},
            ["Wed 11-25 22:00", "Wed 11-25 23:00"],
            "every day at 22:00, again every 1 h for 2 h, until 2026-12-01 00:00",
        ),
        (
            {"daily": "02:00", "start": "2027-01-01"},
            ["Fri 01-01 02:00", "Sat 01-02 02:00"],
            "every day at 02:00",
        ),
    ],
)
def test_a_rule_is_the_trigger_it_says(said: dict[str, Any], runs: list[str], words: str) -> None:
    """In the zone's wall time, from now on; and it is said back in words."""
    assert first_runs(**said) == runs
    assert say_trigger(rule(**said)) == words


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"on_boot": True, "delay": "5m"}, "when the computer has started, 5 min later"),
        ({"on_logon": "ana"}, "when ana logs on"),
        ({"on_logon": "anyone"}, "when anyone logs on"),
        ({"on_idle": True}, "when the computer becomes idle"),
        ({"on_registration": True}, "when the task is registered"),
    ],
)
def test_what_no_clock_starts(said: dict[str, Any], words: str) -> None:
    """Each such trigger, with its delay where it has one."""
    assert say_trigger(rule(**said)) == words


def test_an_event_is_a_channel_and_a_condition() -> None:
    """Or a whole query list; a condition alone is about the inn's own events."""
    query = subscription("System:*[System[Level<=2]]")
    assert query.startswith('<QueryList><Query Id="0" Path="System"><Select Path="System">')
    assert "Level&lt;=2" in query
    assert Subscription(query)
    assert 'Path="Innkeeper"' in subscription("*[System[EventID=7]]")
    assert subscription("<QueryList/>") == "<QueryList/>"


@pytest.mark.parametrize(
    "said",
    [
        {"daily": "02:00", "weekly": "sat"},
        {"daily": "25:00"},
        {"daily": "02:00", "at": "03:00"},
        {"weekly": "blursday"},
        {"weekly": "satur"},
        {"monthly": "32"},
        {"monthly": "fri"},
        {"monthly": "last week"},
        {"monthly": "1", "months": "brumaire"},
        {"every": "15m", "for_": "5m"},
        {"every": "often"},
        {"on_boot": True, "random_delay": "5m"},
        {"on_idle": True, "delay": "5m"},
        {"daily": "02:00", "for_": "5m"},
        {"delay": "5m"},
        {"at": "02:00"},
        {"once": "whenever"},
        {"once": "fri 02:00", "interval": 2},
    ],
)
def test_what_makes_no_rule_is_refused_with_advice(
    said: dict[str, Any],
) -> None:
    """Two rules, words without effect, days that are none: a sentence, and what to write instead."""
    with pytest.raises(InvalidArgument) as refused:
        trigger_of(When(**said), NOW, PARIS)
    assert refused.value.advice


def test_arguments_keep_their_spaces() -> None:
    """What the shell gave as one word stays one, whatever it holds."""
    action = action_of(["/bin/echo", "a b", "c'd", "$(Arg0)"], [], {})
    assert isinstance(action, ExecAction)
    assert (action.path, action.arguments) == ("/bin/echo", """'a b' 'c'"'"'d' '$(Arg0)'""")


def test_an_operation_is_found_by_its_name() -> None:
    """With dashes or underscores; and there is a program or an operation, not both."""
    operations = {"merge_undo_disks": GUID}
    action = action_of([], ["merge-undo-disks", "web-1"], operations)
    assert isinstance(action, ComHandlerAction)
    assert (action.class_id, action.data) == (GUID, "web-1")
    assert say_action(action, {GUID: "merge_undo_disks"}) == "merge_undo_disks web-1"
    for program, operation in [([], []), (["x"], ["merge-undo-disks"]), ([], ["cook"])]:
        with pytest.raises(InvalidArgument):
            action_of(program, operation, operations)
