"""Text from guests and clients, checked once at the door."""

from __future__ import annotations

from typing import Annotated, NewType

from pydantic import AfterValidator

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
    return PlainText(_without_controls(text, but=_LAYOUT))


def is_unicode(text: str) -> bool:
    """Whether a text has Unicode scalar values alone, and no half of a character (a lone surrogate)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def writable(text: str) -> str:
    r"""A text as every encoding takes it: half of a character as its code, ``\ud800``."""
    return text.encode("utf-8", "backslashreplace").decode()


def _without_controls(text: str, *, but: frozenset[str] = frozenset()) -> str:
    if not is_unicode(text):
        raise ValueError("it has half of a character (a lone surrogate)")
    for character in text:
        if (character < " " or "\x7f" <= character <= "\x9f") and character not in but:
            raise ValueError(f"it has the control character U+{ord(character):04X}")
    return text


#: A name in a request, or what else is shown in one line: it has no control character at all.
OneLine = Annotated[str, AfterValidator(_without_controls)]
