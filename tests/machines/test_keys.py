"""Keys by their documented names, what a US keyboard types, and key sequences."""

from __future__ import annotations

import contextlib
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.errors import ErrorCode, InvalidArgument
from innkeeper.machines.screen.key_sequence import Step, Stroke, read_sequence
from innkeeper.machines.screen.keys import KEYS, US_LAYOUT, find_key, strokes

_TYPEABLE = string.printable.replace("\x0b", "").replace("\x0c", "")


def test_all_documented_keys_are_there() -> None:
    """103 documented ones and Caps Lock, each with a code and a name of its own."""
    assert len(KEYS) == 104
    assert len({key.code for key in KEYS.values()}) == len({key.qcode for key in KEYS.values()}) == 104
    assert find_key("key_leftctrl") is find_key(" Key_LeftCtrl ") is KEYS["Key_LeftCtrl"]


def test_every_printable_character_has_a_key() -> None:
    """Each its own: no two characters are typed alike, but for the two ends of a line."""
    assert set(_TYPEABLE) <= set(US_LAYOUT)
    chords = [US_LAYOUT[character] for character in _TYPEABLE if character != "\r"]
    assert len(set(chords)) == len(chords)


@given(st.text(alphabet=_TYPEABLE, max_size=50))
def test_a_text_is_a_chord_for_each_character(text: str) -> None:
    """With shift where the layout has it there."""
    chords = strokes(text)
    assert [chord[-1] for chord in chords] == [US_LAYOUT[character][0] for character in text]
    assert [len(chord) == 2 for chord in chords] == [US_LAYOUT[character][1] for character in text]


@pytest.mark.parametrize("text", ["ä", "ok\x00", "\U0001f600", "a\x7f"])
def test_what_is_on_no_key_is_refused(text: str) -> None:
    """By its place."""
    with pytest.raises(InvalidArgument, match="Character"):
        strokes(text)


def test_the_documented_example_is_read() -> None:
    """Ctrl, Alt and Delete."""
    steps = read_sequence("DOWN,Key_LeftCtrl,DOWN,Key_LeftAlt,Key_Delete,UP,Key_LeftAlt,UP,Key_LeftCtrl,HOLD")
    ctrl, alt, delete = KEYS["Key_LeftCtrl"], KEYS["Key_LeftAlt"], KEYS["Key_Delete"]
    assert steps == (
        Step(ctrl, Stroke.PRESS),
        Step(alt, Stroke.PRESS),
        Step(delete),
        Step(alt, Stroke.RELEASE),
        Step(ctrl, Stroke.RELEASE),
        Step(None),
    )


_MALFORMED = [
    "",
    ",",
    "Key_A,",
    "DOWN",
    "Key_A,UP",
    "DOWN,UP,Key_A",
    "DOWN,HOLD",
    "Key_Ä",
    "A",
    "Key_A;Key_B",
]


@pytest.mark.parametrize("sequence", [*_MALFORMED, ",".join(["Key_A"] * 501)])
def test_a_malformed_sequence_is_refused_whole(sequence: str) -> None:
    """With the documented identifier."""
    with pytest.raises(InvalidArgument) as caught:
        read_sequence(sequence)
    assert caught.value.code is ErrorCode.E_INVALIDARG


@given(st.text())
def test_any_text_is_a_sequence_or_refused(text: str) -> None:
    """Never anything else."""
    with contextlib.suppress(InvalidArgument):
        assert read_sequence(text)
