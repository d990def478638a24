"""The true encoding of an XML file, whatever it declares."""

from __future__ import annotations

import codecs
import enum
import re

from innkeeper.errors import ErrorCode, ScheduleError

#: What a definition may measure at most, in characters; the largest real ones have some ten thousand.
LONGEST_CHARACTERS = 1 << 20

_DECLARED = re.compile(r"""<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


class Encoding(enum.StrEnum):
    """Encoding of a definition's file."""

    #: Little endian with a byte-order mark, as Windows exports.
    UTF_16 = "utf-16"
    #: Without a mark, as everything else likes it.
    UTF_8 = "utf-8"


def decode(data: bytes) -> tuple[str, str]:
    """Decode bytes; returns the text with the name of the encoding they were really in.

    Raises ``ScheduleError`` for what is too large, cut off, or not text.
    """
    # Four bytes a character is the most that any encoding here needs.
    if len(data) > 4 * LONGEST_CHARACTERS:
        raise _malformed(
            f"the file has {len(data):,} bytes; a definition has at most {LONGEST_CHARACTERS:,} characters"
        )
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            return _decoded(data[len(mark) :], encoding), encoding
    for pattern, encoding in ((b"<\0", "utf-16-le"), (b"\0<", "utf-16-be")):
        if data.startswith(pattern):
            return _decoded(data, encoding), encoding
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return _decoded(data, "cp1252"), "cp1252"


def checked(text: str) -> str:
    """Return the text with line ends as XML reads them, if a definition may look so at all."""
    if len(text) > LONGEST_CHARACTERS:
        raise _malformed(
            f"the text has {len(text):,} characters; a definition has at most {LONGEST_CHARACTERS:,}"
        )
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    position = text.find("\0")
    if position >= 0:
        line = text.count("\n", 0, position) + 1
        column = position - text.rfind("\n", 0, position)
        raise _malformed("the text holds a NUL character", line=line, column=column)
    return text


def misdeclared(text: str, encoding: str) -> str | None:
    """Return the declared encoding, where it is not the true one."""
    match = _DECLARED.match(text)
    if match is None:
        return None
    declared = match.group(1)
    family = "utf-16" if encoding.startswith("utf-16") else encoding
    return None if _family(declared) in (family, "us-ascii") else declared


def encode(text: str, encoding: Encoding) -> bytes:
    """Encode a definition's text as a file, with the line ends of Windows."""
    text = text.replace("\n", "\r\n")
    return codecs.BOM_UTF16_LE + text.encode("utf-16-le") if encoding is Encoding.UTF_16 else text.encode()


def _family(declared: str) -> str:
    try:
        name = codecs.lookup(declared).name
    except LookupError:
        return declared.lower()
    if name == "ascii":
        return "us-ascii"
    return "utf-16" if name.startswith("utf-16") else name


def _decoded(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as problem:
        raise _malformed(f"byte {problem.start + 1} is not {encoding}: {problem.reason}") from problem


def _malformed(sentence: str, *, line: int = 1, column: int = 1) -> ScheduleError:
    return ScheduleError(
        f"This is not a task definition: {sentence}.",
        code=ErrorCode.SCHED_E_MALFORMEDXML,
        advice="Export the task again, as UTF-8 or UTF-16.",
        line=line,
        column=column,
    )
