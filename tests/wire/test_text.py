"""Text from guests and clients is whole Unicode without control characters, or it is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from innkeeper.wire.text import plain_text


@pytest.mark.parametrize("text", ["", "green", "tab\tand\r\nline", "ünïcödé", "\U0001f600", "x" * 10])
def test_plain_text_is_taken_as_it_is(text: str) -> None:
    """Nothing of it is changed."""
    assert plain_text(text, 20) == text


@pytest.mark.parametrize(
    "text", ["\ud800", "a\udfffb", "\0", "bell\x07", "\x1b[31m", "\x7f", "\x9b", "x" * 21, 5]
)
def test_what_no_store_or_terminal_can_take_is_refused(text: object) -> None:
    """Lone surrogates, control characters, too many characters, and what is no text at all."""
    with pytest.raises(ValueError, match="it "):
        plain_text(text, 20)


@given(st.text(st.characters(), max_size=30))
def test_what_is_taken_can_be_encoded(text: str) -> None:
    """As UTF-8, which stores, sockets and files need; whatever the text."""
    try:
        plain_text(text, 30)
    except ValueError:
        return
    assert text.encode().decode() == text
