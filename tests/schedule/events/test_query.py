"""A subscription names channels, selects and suppresses; events of the inn and the journal have one shape."""

import datetime as dt
import json

import pytest
from lxml import etree

from innkeeper.errors import ErrorCode, ScheduleError
from innkeeper.schedule.events import inn, journal
from innkeeper.schedule.events.query import Subscription
from innkeeper.wire.events import Event, EventKind

NOON = dt.datetime(2026, 11, 25, 12, 0, tzinfo=dt.UTC)


def stopped(machine: str = "web-1", kind: EventKind = EventKind.MACHINE_STOPPED):
    return inn.of_event(Event(kind=kind, subject=machine, at=NOON), identifier="a-1", computer="host-1")


def listed(*queries: str) -> str:
    return "<QueryList>" + "".join(f'<Query Id="0">{query}</Query>' for query in queries) + "</QueryList>"


def test_suppress_takes_back_what_select_selects_in_its_own_query_alone() -> None:
    """What the second query selects is not suppressed by the first."""
    first = (
        '<Select Path="Innkeeper/Machines">*[System[EventID=103]]</Select>'
        "<Suppress Path=\"Innkeeper/Machines\">*[EventData[Data='web-1']]</Suppress>"
    )
    subscription = Subscription(listed(first))
    assert not subscription.matches(stopped("web-1"), NOON)
    assert subscription.matches(stopped("web-2"), NOON)
    second = "<Select Path=\"Innkeeper\">*[EventData[Data[@Name='Subject']='web-1']]</Select>"
    assert Subscription(listed(first, second)).matches(stopped("web-1"), NOON)


def test_a_path_on_the_query_holds_for_its_selectors() -> None:
    """As Windows writes it; and channels' case does not matter."""
    text = '<QueryList><Query Id="0" Path="INNKEEPER/machines"><Select>*</Select></Query></QueryList>'
    assert Subscription(text).matches(stopped(), NOON)
    assert Subscription(text).channels == {"INNKEEPER/machines"}


@pytest.mark.parametrize(
    "text",
    [
        "*[System]",
        "<QueryList>",
        "<QueryList/>",
        "<Query/>",
        listed('<Select Path="Innkeeper">System</Select>'),
        listed("<Select>*</Select>"),
        listed('<Select Path="file://c:/x.evtx">*</Select>'),
        listed('<Suppress Path="Innkeeper">*</Suppress>'),
        listed('<Other Path="Innkeeper">*</Other>'),
        listed('<Select Path="Innkeeper">*</Select>' * 33),
        '<!DOCTYPE a [<!ENTITY b "c">]><QueryList>&b;</QueryList>',
        "x" * 70_000,
    ],
)
def test_what_is_no_subscription_is_refused_with_its_node(text: str) -> None:
    """0x80041318 at Subscription, as for every value that is none."""
    with pytest.raises(ScheduleError) as refused:
        Subscription(text)
    assert (refused.value.code, refused.value.node) == (ErrorCode.SCHED_E_INVALIDVALUE, "Subscription")


def test_an_event_of_the_inn_is_event_xml() -> None:
    """In the namespace of the event log, with the inn's own data by name."""
    event = Event(
        kind=EventKind.TASK_ENDED, subject="7", at=NOON, data={"error": 5, "phase": None, "list": [1]}
    )
    shown = inn.of_event(event, identifier="a-2", computer="host-1")
    root = etree.fromstring(shown.xml)
    ns = {"e": "http://schemas.microsoft.com/win/2004/08/events/event"}
    assert root.xpath("string(e:System/e:EventID)", namespaces=ns) == "202"
    assert root.xpath("string(e:System/e:Level)", namespaces=ns) == "2"
    assert (
        root.xpath("string(e:System/e:TimeCreated/@SystemTime)", namespaces=ns)
        == "2026-11-25T12:00:00.000000Z"
    )
    data = {each.get("Name"): each.text for each in root.findall("e:EventData/e:Data", ns)}
    assert data == {"Kind": EventKind.TASK_ENDED, "Subject": "7", "error": "5", "list": "[1]"}


def test_every_kind_of_event_has_a_number_of_its_own() -> None:
    """And no number is given twice."""
    assert len(set(inn.EVENT_IDS.values())) == len(inn.EVENT_IDS)
    assert inn.of_event(
        Event(kind=EventKind.EVENTS_LOST, subject="", at=NOON), identifier="1", computer="h"
    ).channels == {"innkeeper"}


@pytest.mark.parametrize(
    ("fields", "channel"),
    [
        ({"SYSLOG_FACILITY": "10"}, "security"),
        ({"_UID": "1000"}, "application"),
        ({"_UID": "0"}, "system"),
        ({"_TRANSPORT": "kernel"}, "system"),
    ],
)
def test_an_entry_of_the_journal_is_in_the_channel_that_windows_would_have_it_in(
    fields: dict[str, str], channel: str
) -> None:
    """Beside the channel of all entries."""
    entry = {"__CURSOR": "s=1", "MESSAGE": "hello", "PRIORITY": "3", "__REALTIME_TIMESTAMP": "1", **fields}
    found = journal.of_line(json.dumps(entry).encode())
    assert found.channels == {"journal", channel}
    query = (
        f'<Select Path="{channel}">*[System[Level=2] and EventData[Data[@Name="MESSAGE"]="hello"]]</Select>'
    )
    assert Subscription(listed(query)).matches(found, NOON)


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"{}", b'{"__CURSOR": 1}', b"\xff"])
def test_what_is_no_entry_is_passed_over(line: bytes) -> None:
    """The journal's reader is not stopped by a line that it cannot read."""
    assert journal.of_line(line) is None


def test_bytes_and_doubled_fields_of_an_entry_are_text() -> None:
    """As journalctl writes what is no UTF-8, and what is there twice."""
    entry = {
        "__CURSOR": "s=1",
        "MESSAGE": [104, 105, 255],
        "DOUBLE": ["a", "b"],
        "PRIORITY": "x",
        "NONE": None,
    }
    data = journal.of_line(json.dumps(entry).encode()).tree.children[1]
    assert [each.text for each in data.children] == ["hi\ufffd", "a\nb", "x"]
