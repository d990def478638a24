"""The event log's subset of XPath selects what the documents say, and hostile queries are refused quickly."""

import datetime as dt
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.schedule.events.record import Facts, Level, record
from innkeeper.schedule.events.xpath import XPath
from innkeeper.schedule.events.xpath_parser import XPathError

NOON = dt.datetime(2026, 11, 25, 12, 0, tzinfo=dt.UTC)
EVENT = record(
    Facts(
        id="7",
        at=NOON,
        provider="sshd",
        event_id=4624,
        level=Level.ERROR,
        channel="Security",
        computer="host-1",
        data={"TargetUserName": "ana", "LogonType": "10", "Bits": "0x8020000000000000"},
    )
).tree


def selects(query: str, *, later: float = 0.0) -> bool:
    return XPath(query).matches(EVENT, NOON + dt.timedelta(seconds=later))


@pytest.mark.parametrize(
    "query",
    [
        "*",
        "Event",
        "*[System]",
        "*[System[EventID=4624]]",
        "*[System[(EventID=1 or EventID=4624) and Level <= 2]]",
        "Event[System/Level=2]",
        "Event/System[Provider[@Name='sshd']]",
        "*[System[Provider/@Name='sshd' and Channel='Security']]",
        "*[EventData[Data[@Name='TargetUserName']='ana' and Data[@Name='LogonType'] >= 10]]",
        "*[EventData[Data[@Name='TargetUserName'] and (Data='ana')]]",
        "*[EventData/Data[2]='10']",
        "*[EventData[Data[position()=1]='ana']]",
        "*[child::EventData/Data/attribute::Name='LogonType']",
        "*[System[TimeCreated[@SystemTime>='2026-11-25T11:00:00.000Z' and @SystemTime<='2026-11-26']]]",
        "*[System[TimeCreated[timediff(@SystemTime) <= 60000]]]",
        "*[EventData[Band(Data[@Name='Bits'], 9007199254740992)]]",
        '*[System[EventID != "4625"]]',
        "*[*[EventID]]",
    ],
)
def test_a_query_of_the_documents_selects_the_event(query: str) -> None:
    """Every form that the documents show."""
    assert selects(query)


@pytest.mark.parametrize(
    "query",
    [
        "*[System[EventID=4625]]",
        "*[System[EventID=4624 and Level=4]]",
        "*[EventData/Data[3]='10']",
        "*[EventData[Data[@Name='Other']='ana']]",
        "*[EventData[Data='Ana']]",
        "*[EventData[band(Data[@Name='LogonType'], 1)]]",
        "*[System[Level < 'none']]",
        "*[UserData]",
        "*[System[TimeCreated[@SystemTime<'2026-11-25T12:00:00Z']]]",
    ],
)
def test_a_query_that_means_others_does_not(query: str) -> None:
    """Neither a wrong value, nor a missing one, nor another case."""
    assert not selects(query)


def test_time_is_counted_from_now() -> None:
    """Timediff is in milliseconds, up to now."""
    assert selects("*[System[TimeCreated[timediff(@SystemTime) <= 1000]]]", later=1)
    assert not selects("*[System[TimeCreated[timediff(@SystemTime) <= 1000]]]", later=1.5)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "ends"),
        ("System[EventID=1]", "must start with"),
        ("//Event", "'/'"),
        ("*[System[EventID=1]", "ends where"),
        ("*[System[EventID=1]]]", "'\\]'"),
        ("*[not(System)]", "no function 'not'"),
        ("*[System[contains(Level, '1')]]", "contains"),
        ("*[System[band(1)]]", "takes 2"),
        ("*[parent::x]", "no axis 'parent'"),
        ("*[System[EventID=$x]]", "means nothing"),
        ("*[@Name/x]", "nothing below"),
        ("*[System[@Name['x']]]", "no condition"),
        ("*['open", "means nothing"),
        ("*[" * 100, "deeper"),
        ("*[" + "A or " * 2000 + "A]", "parts"),
        ("*" + " " * 20_000 + "x", "characters"),
        ("\0", "means nothing"),
    ],
)
def test_what_is_none_of_the_subset_is_refused_with_its_place(query: str, words: str) -> None:
    """Each refusal says what stands wrong."""
    with pytest.raises(XPathError, match=words):
        XPath(query)


@given(st.text(alphabet="*Event[]()=<>/@'\"1andor, ", max_size=80))
def test_no_text_breaks_the_reader(text) -> None:
    """It is a query, or it is refused; nothing else comes out."""
    try:
        query = XPath(text)
    except XPathError:
        return
    query.matches(EVENT, NOON)


def test_the_worst_query_on_the_largest_event_costs_little() -> None:
    """A thousand parts over the most values that an event may have stay below half a second."""
    data = {f"n{number}": "x" * 100 for number in range(5000)}
    large = record(
        Facts(
            id="1",
            at=NOON,
            provider="p",
            event_id=1,
            level=Level.ERROR,
            channel="c",
            computer="h",
            data=data,
        )
    ).tree
    worst = XPath("*[" + " or ".join(["*/*='y'"] * 160) + "]")
    began = time.process_time()
    assert not worst.matches(large, NOON)
    assert time.process_time() - began < 0.5
