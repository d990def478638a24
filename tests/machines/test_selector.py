"""Selectors mean the machines that a person would expect, and say what is wrong with them."""

from __future__ import annotations

import pytest

from innkeeper.errors import InvalidArgument
from innkeeper.machines.selector import Described, Selector
from innkeeper.wire.states import MachineState

WEB = Described(
    name="web-1",
    host="attic",
    labels=("web", "EU west"),
    state=MachineState.RUNNING,
    os="Debian GNU/Linux 12",
)
DB = Described(name="db-1", host="cellar", labels=("db",), state=MachineState.TURNED_OFF)


@pytest.mark.parametrize(
    ("text", "matched"),
    [
        ("all", [WEB, DB]),
        ("web-1", [WEB]),
        ("WEB-*", [WEB]),
        ("attic/web-1", [WEB]),
        ("cellar/*", [DB]),
        ("cellar/web-1", []),
        ("label:web", [WEB]),
        ("label:WEB", [WEB]),
        ("label:'eu west'", [WEB]),
        ("not label:web", [DB]),
        ("not not label:web", [WEB]),
        ("*-1 and not host:attic", [DB]),
        ("label:web AND host:attic and state:running", [WEB]),
        ("state:off", [DB]),
        ("os:debian*", [WEB]),
        ("not os:debian*", [DB]),
        ("name:db-1", [DB]),
        ("web-1 or db-1", [WEB, DB]),
        ("label:web and host:cellar or state:off", [DB]),
        ("state:off or label:web AND not host:cellar", [WEB, DB]),
        ("host:nowhere or not label:db", [WEB]),
    ],
)
def test_a_selector_means_the_machines_that_it_describes(text: str, matched: list[Described]) -> None:
    """Whatever the case of its letters."""
    selector = Selector.parse(text)
    assert [machine for machine in (WEB, DB) if selector.matches(machine)] == matched


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "it is empty"),
        ("label:web and", "a word is missing"),
        ("and label:web", "a word is missing"),
        ("not", "a word is missing"),
        ("web-1 or", "a word is missing"),
        ("or web-1", "a word is missing"),
        ("web-1 db-1", "“web-1” and “db-1” are not joined by “and” or “or”"),
        ("lable:web", "“lable:” is nothing that machines are told by"),
        ("state:asleep", "there is no state “asleep”"),
        ("label:'web", "a quotation in it does not end"),
    ],
)
def test_what_is_no_selector_is_refused_with_a_sentence(text: str, sentence: str) -> None:
    """And with what can be written instead."""
    with pytest.raises(InvalidArgument, match=sentence) as refused:
        Selector.parse(text)
    assert "label:web and not host:attic" in (refused.value.advice or "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("web-* and not host:atic", ["host:atic"]),
        ("wbe-* or label:db", ["wbe-*"]),
        ("not label:wbe and os:debain*", ["label:wbe", "os:debain*"]),
        ("state:paused or web-1", []),
        ("label:web and host:cellar", []),
    ],
)
def test_words_that_name_no_machine_are_found(text: str, words: list[str]) -> None:
    """Denied ones too, which would spare nothing; each word by itself, and no state: those are known."""
    assert Selector.parse(text).unmatched([WEB, DB]) == words
