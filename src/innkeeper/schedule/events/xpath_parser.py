"""Parser of the event log's subset of XPath 1.0.

Documented as "XPath 1.0 limitations" of the Windows event log: a selector starts with ``*`` or ``Event``;
there are the child and attribute axes, names and ``*``, predicates with ``or``, ``and``, comparisons,
parentheses, numbers and strings, and the functions ``position``, ``band`` and ``timediff``. All else is
refused.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

#: A query that is longer, or nests deeper, is no query that a person has written.
LONGEST = 16_384
_MOST_TOKENS = 1_000
_DEEPEST = 24

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d*)?)|(?P<string>'[^']*'|\"[^\"]*\")"
    r"|(?P<name>[A-Za-z_][\w.\-]*)|(?P<symbol>::|<=|>=|!=|[=<>()\[\]/@,*]))"
)
_COMPARISONS = frozenset({"=", "!=", "<", "<=", ">", ">="})
#: Each function with how few and how many arguments it takes.
_FUNCTIONS = {"position": (0, 0), "band": (2, 2), "timediff": (1, 2)}


class XPathError(ValueError):
    """A text that is no query of the subset, with the reason."""


@dataclasses.dataclass(frozen=True, slots=True)
class Literal:
    """A number or a string."""

    value: float | str


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """One step of a path: the children or attributes of a name that the predicates let through."""

    name: str
    is_attribute: bool
    predicates: tuple[Expression, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Path:
    """Steps from the element at hand."""

    steps: tuple[Step, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """Two values and what must hold between them."""

    operator: str
    left: Expression
    right: Expression


@dataclasses.dataclass(frozen=True, slots=True)
class Both:
    """All of them (``and``)."""

    parts: tuple[Expression, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Either:
    """Any of them (``or``)."""

    parts: tuple[Expression, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """One of the three functions."""

    name: str
    arguments: tuple[Expression, ...]


Expression = Literal | Path | Comparison | Both | Either | Call


def parse(text: str) -> Path:
    """Return the selector of a text. Raises ``XPathError``."""
    parser = _Parser(text)
    selector = parser.path()
    parser.end()
    first = selector.steps[0]
    if first.is_attribute or first.name not in ("*", "Event"):
        raise XPathError("it must start with * or Event, as it selects events")
    return selector


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    position = 0
    end = len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            rest = text[position:].lstrip()
            raise XPathError(f"{rest[:1]!r} at character {end - len(rest.rstrip()) + 1} means nothing here")
        yield match.lastgroup, match.group(match.lastgroup), match.start(match.lastgroup)
        position = match.end()


class _Parser:
    """Recursive-descent parser with one token of look-ahead."""

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            raise XPathError(f"it has {len(text):,} characters; {LONGEST:,} are allowed")
        self._tokens = list(_tokens(text))
        if len(self._tokens) > _MOST_TOKENS:
            raise XPathError(f"it has more than {_MOST_TOKENS:,} parts")
        self._at = 0
        self._depth = 0

    def end(self) -> None:
        """Expect the end of the text."""
        if self._at < len(self._tokens):
            raise self._unexpected()

    def path(self) -> Path:
        """Parse steps separated by slashes."""
        steps = [self._step()]
        while self._takes("/"):
            if steps[-1].is_attribute:
                raise XPathError("an attribute has nothing below it")
            steps.append(self._step())
        return Path(tuple(steps))

    def _step(self) -> Step:
        is_attribute = self._takes("@")
        kind, word = self._peek()
        if not is_attribute and kind == "name" and self._peek(1)[1] == "::":
            if word not in ("child", "attribute"):
                raise XPathError(f"there is no axis {word!r}; there are child and attribute")
            self._at += 2
            is_attribute = word == "attribute"
            kind, word = self._peek()
        if kind != "name" and word != "*":
            raise self._unexpected("a name")
        self._at += 1
        predicates = []
        while self._takes("["):
            if is_attribute:
                raise XPathError("an attribute takes no condition in brackets")
            predicates.append(self._expression())
            self._must("]")
        return Step(word, is_attribute, tuple(predicates))

    def _expression(self) -> Expression:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise XPathError(f"it nests deeper than {_DEEPEST}")
        parts = [self._conjunction()]
        while self._takes("or"):
            parts.append(self._conjunction())
        self._depth -= 1
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def _conjunction(self) -> Expression:
        parts = [self._comparison()]
        while self._takes("and"):
            parts.append(self._comparison())
        return parts[0] if len(parts) == 1 else Both(tuple(parts))

    def _comparison(self) -> Expression:
        left = self._operand()
        operator = self._peek()[1]
        if self._peek()[0] != "symbol" or operator not in _COMPARISONS:
            return left
        self._at += 1
        return Comparison(operator, left, self._operand())

    def _operand(self) -> Expression:
        kind, word = self._peek()
        if kind == "number":
            self._at += 1
            return Literal(float(word) if "." in word else int(word))
        if kind == "string":
            self._at += 1
            return Literal(word[1:-1])
        if self._takes("("):
            inner = self._expression()
            self._must(")")
            return inner
        if kind == "name" and self._peek(1)[1] == "(":
            return self._call(word)
        return self.path()

    def _call(self, word: str) -> Call:
        name = word.lower()  # the documents write both Band and band
        if name not in _FUNCTIONS:
            raise XPathError(f"there is no function {word!r}; there are position, band and timediff")
        self._at += 2
        arguments = []
        if not self._takes(")"):
            arguments.append(self._expression())
            while self._takes(","):
                arguments.append(self._expression())
            self._must(")")
        least, most = _FUNCTIONS[name]
        if not least <= len(arguments) <= most:
            raise XPathError(f"{word} takes {most} arguments, and not {len(arguments)}")
        return Call(name, tuple(arguments))

    def _peek(self, ahead: int = 0) -> tuple[str, str]:
        place = self._at + ahead
        return self._tokens[place][:2] if place < len(self._tokens) else ("end", "")

    def _takes(self, word: str) -> bool:
        kind, found = self._peek()
        if kind not in ("symbol", "name") or found != word:
            return False
        self._at += 1
        return True

    def _must(self, word: str) -> None:
        if not self._takes(word):
            raise self._unexpected(repr(word))

    def _unexpected(self, wanted: str = "its end") -> XPathError:
        if self._at >= len(self._tokens):
            return XPathError(f"it ends where {wanted} should stand")
        _, word, place = self._tokens[self._at]
        return XPathError(f"{word[:40]!r} at character {place + 1} stands where {wanted} should")
