"""Write texts that match a regular expression."""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

#: Python's own reader of patterns has no types.
parser: Any = re._parser
constants: Any = re._constants

#: How much more than it must a repetition repeats.
_MORE = 3
_PRINTABLE = range(0x20, 0x7F)


def matching(pattern: str, chance: random.Random) -> str:
    """A text, of printable characters of ASCII, that matches a pattern as a whole."""
    return _written(_parsed(pattern), chance)


@functools.cache
def _parsed(pattern: str) -> Any:
    return parser.parse(pattern)


def _written(parts: Iterable[tuple[Any, Any]], chance: random.Random) -> str:
    return "".join(_WRITERS[kind](value, chance) for kind, value in parts)


def _repeated(value: Any, chance: random.Random) -> str:
    least, most, part = value
    return "".join(_written(part, chance) for _ in range(chance.randint(least, min(most, least + _MORE))))


def _one_of_set(value: Any, chance: random.Random) -> str:
    negated = value[0][0] is constants.NEGATE
    named = {code for kind, each in value for code in _codes(kind, each)}
    return chr(chance.choice([code for code in _PRINTABLE if (code in named) is not negated]))


def _codes(kind: Any, value: Any) -> Iterable[int]:
    if kind is constants.LITERAL:
        return (value,)
    if kind is constants.RANGE:
        return range(value[0], value[1] + 1)
    if kind is constants.CATEGORY:
        escape = _CATEGORIES[value]
        return (code for code in _PRINTABLE if re.match(escape, chr(code)))
    return ()


_CATEGORIES: Mapping[Any, str] = {
    constants.CATEGORY_DIGIT: r"\d",
    constants.CATEGORY_SPACE: r"\s",
    constants.CATEGORY_WORD: r"\w",
}
_WRITERS: Mapping[Any, Callable[[Any, random.Random], str]] = {
    constants.LITERAL: lambda value, _chance: chr(value),
    constants.ANY: lambda _value, chance: chr(chance.choice(_PRINTABLE)),
    constants.IN: _one_of_set,
    constants.MAX_REPEAT: _repeated,
    constants.SUBPATTERN: lambda value, chance: _written(value[3], chance),
    constants.BRANCH: lambda value, chance: _written(chance.choice(value[1]), chance),
    constants.AT: lambda _value, _chance: "",
    constants.NOT_LITERAL: lambda value, chance: chr(chance.choice([c for c in _PRINTABLE if c != value])),
}
