"""Text from guests and clients, checked once at the door."""

from __future__ import annotations

from typing import NewType

#: Text of Unicode scalar values alone, without control characters but tab and line ends, within its length:
#: every store, encoding and log takes it.
PlainText = NewType("PlainText", str)

_LAYOUT = frozenset("\t\n\r")


def plain_text(text: object, most: int) -> PlainText:
    """Check a text of at most ``most`` characters. Raises ``ValueError``, saying what is wrong with it."""
    if not isinstance(text, str):
        raise ValueError("it is no text")
    if len(text) > most:
        raise ValueError(f"it has {len(text):,} characters, and may have {most:,}")
    for character in text:
        if "\ud800" <= character <= "\udfff":
            raise ValueError("it has half of a character (a lone surrogate)")
        if (character < " " or "\x7f" <= character <= "\x9f") and character not in _LAYOUT:
            raise ValueError(f"it has the control character U+{ord(character):04X}")
    return PlainText(text)
