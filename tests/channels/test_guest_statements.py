"""Whatever a guest says of itself is read within its bounds, or not at all."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.channels.guest_statements import (
    read_count,
    read_facts,
    read_parameters,
    read_sessions,
    read_updates,
)
from innkeeper.channels.heartbeat import HeartbeatCounter
from innkeeper.channels.statements import Unbelievable
from innkeeper.tasks.clock import FakeClock

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
)
_NAMES = st.sampled_from(
    ("sessions", "count", "parameters", "user", "since", "locked", "computer_name", "updates", "name")
)


@given(_JSON | st.dictionaries(_NAMES, _JSON))
def test_any_word_is_read_or_not_believed(message: object) -> None:
    """No other exception, whatever the guest sends."""
    for read in (read_facts, read_sessions, read_count, read_parameters, read_updates):
        with contextlib.suppress(Unbelievable):
            read(message)


_FACTS = dict.fromkeys(
    (
        "computer_name",
        "os_id",
        "os_name",
        "version",
        "version_id",
        "variant",
        "kernel_release",
        "kernel_version",
        "architecture",
    ),
    "x" * 1000 + "\x1b[31m",
)


def test_facts_are_cut_and_cleaned() -> None:
    """Nothing of them acts on a terminal."""
    facts = read_facts({**_FACTS, "os_name": "evil\x1b[2J\n"})
    assert len(facts.computer_name) == 200
    assert facts.os_name == "evil\N{REPLACEMENT CHARACTER}[2J "


@pytest.mark.parametrize(
    "message",
    [
        {"parameters": {"a\\b": ["v", 0, True]}},
        {"parameters": {"": ["v", 0, True]}},
        {"parameters": {"n" * 256: ["v", 0, True]}},
        {"parameters": {"a": ["v" * 4097, 0, True]}},
        {"parameters": {"a": ["v", -1, True]}},
        {"parameters": {"a": ["v", True, True]}},
        {"parameters": {"a": ["v", 0, 1]}},
        {"parameters": {"a": ["v", 0]}},
        {"parameters": {str(number): ["v", 0, True] for number in range(257)}},
    ],
)
def test_parameters_out_of_bounds_are_not_believed(message: object) -> None:
    """Each bound by itself."""
    with pytest.raises(Unbelievable):
        read_parameters(message)


def test_sessions_without_an_end_are_not_believed() -> None:
    """At most 64."""
    with pytest.raises(Unbelievable):
        read_sessions({"sessions": [{"user": "a", "since": 0}] * 65})


async def test_a_pulse_counts_the_beats_of_the_last_minute() -> None:
    """Ten are expected in it; fewer where the first was less than a minute ago."""
    clock = FakeClock()
    heartbeat = HeartbeatCounter(clock)
    assert heartbeat.percent is None
    heartbeat.beat()
    assert heartbeat.percent == 100
    for _ in range(20):
        await clock.advance(6)
        heartbeat.beat()
    assert heartbeat.percent == 100
    await clock.advance(31)
    assert heartbeat.percent == 50
    await clock.advance(30)
    assert heartbeat.percent == 0


@pytest.mark.parametrize("value", ["\ud800", "a\0b", "\x1b[2J"])
def test_a_parameter_that_no_store_can_take_is_not_believed(value: str) -> None:
    """Half a character would break the store, and with it the work for every other guest."""
    with pytest.raises(Unbelievable):
        read_parameters({"parameters": {"colour": [value, 1, True]}})
    assert (
        read_parameters({"parameters": {"colour": ["two\nlines", 1, True]}})["colour"].value == "two\nlines"
    )
