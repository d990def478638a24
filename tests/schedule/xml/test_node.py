"""Hostile XML is refused quickly, with its place; benign XML keeps its own."""

import time
import tracemalloc
from collections.abc import Callable

import pytest

from innkeeper.errors import ErrorCode, ScheduleError
from innkeeper.schedule.xml.encoding import LONGEST_CHARACTERS
from innkeeper.schedule.xml.node import parse

LAUGHS = (
    '<!DOCTYPE a [<!ENTITY l0 "ha">'
    + "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    + "]><a>&l11;</a>"
)


@pytest.mark.parametrize(
    "text",
    [
        LAUGHS,
        '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "http://127.0.0.1:1/">]><a>&x;</a>',
        "<a>&undeclared;</a>",
        "<a>" * 100_000,
        "<a>" * 65 + "</a>" * 65,
        "<r>" + "<a/>" * 20_001 + "</r>",
        "<r " + " ".join(f'a="{n}"' for n in range(1000)) + "/>",
        "<a><b></a></b>",
        "<a>\x01</a>",
        "<a/><b/>",
        "<p:a/>",
        "",
    ],
)
def test_hostile_or_broken_xml_is_refused_quickly_and_in_bounded_memory(text: str) -> None:
    """Entities, document types, depth, number and broken tags end in an error with line and column."""
    assert cost(lambda: refusal(text)) < 3
    assert peak(lambda: refusal(text)) < 40_000_000
    refused = refusal(text)
    assert refused.code is ErrorCode.SCHED_E_MALFORMEDXML
    assert refused.line >= 1
    assert refused.column >= 1


@pytest.mark.parametrize(
    "text",
    [
        "<r>" + "x<a/>" * 19_000 + "</r>",
        "<a>" * 60 + "x" * (LONGEST_CHARACTERS - 1000) + "</a>" * 60,
        "<r>" + "&#120;" * 150_000 + "</r>",
    ],
)
def test_the_largest_allowed_documents_cost_little(text: str) -> None:
    """At the limits, reading is still a matter of moments and a few copies of the text."""
    assert cost(lambda: parse(text)) < 3
    assert peak(lambda: parse(text)) < 60_000_000


def refusal(text: str) -> ScheduleError:
    """Why it is refused."""
    with pytest.raises(ScheduleError) as refused:
        parse(text)
    return refused.value


def cost(work: Callable[[], object]) -> float:
    """Seconds of the processor: who else uses the computer does not count, nor does a watch on memory."""
    begun = time.thread_time()
    work()
    return time.thread_time() - begun


def peak(work: Callable[[], object]) -> int:
    """Bytes of memory at its most."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_nodes_know_their_place_and_their_source() -> None:
    """Line and column count from 1 and in characters; the source of a node is kept to the character."""
    root = parse('<a>é<b x=">"/>\n  <c >t<d/></c ></a>')
    b, c = root.children
    assert (b.line, b.column, b.outer, b.inner) == (1, 5, '<b x=">"/>', "")
    assert (c.line, c.column, c.outer, c.inner) == (2, 3, "<c >t<d/></c >", "t<d/>")
    assert c.children[0].outer == "<d/>"
