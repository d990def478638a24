"""Evaluation of XPath selectors on events."""

from __future__ import annotations

import dataclasses
import datetime as dt
import operator
from collections.abc import Callable, Mapping

from innkeeper.schedule.events.tree import Element
from innkeeper.schedule.events.xpath_parser import (
    Both,
    Call,
    Comparison,
    Either,
    Expression,
    Literal,
    Path,
    Step,
    parse,
)

_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
#: FILETIME counts tenths of a microsecond from here.
_FILETIME_EPOCH = dt.datetime(1601, 1, 1, tzinfo=dt.UTC)
_NAN = float("nan")
_TICKS_PER_MS = 10_000

#: What a value in a comparison can be: one of a set of texts, or a number.
_Value = tuple[str, ...] | float


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """Context of an expression's evaluation."""

    element: Element
    #: Which of its like it is, from 1.
    position: int
    now: dt.datetime


class XPath:
    """A compiled selector. Its evaluation costs at most its length times the event's size."""

    def __init__(self, text: str) -> None:
        """Raises ``XPathError`` for a text outside the subset."""
        self.text = text
        self._path = parse(text)

    def matches(self, event: Element, now: dt.datetime) -> bool:
        """Whether the selector selects the event; ``now`` is what ``timediff`` counts from."""
        return bool(self.values(event, now))

    def values(self, event: Element, now: dt.datetime) -> tuple[str, ...]:
        """The values of all that the selector selects in the event."""
        # The selector's first step is the event itself.
        return _selected(self._path, Element("", children=(event,)), now)


def _selected(path: Path, element: Element, now: dt.datetime) -> tuple[str, ...]:
    found = [element]
    for step in path.steps:
        if step.is_attribute:
            return tuple(value for each in found for value in _attributes(each, step.name))
        found = [child for each in found for child in _children(each, step, now)]
    return tuple(each.value for each in found)


def _attributes(element: Element, name: str) -> list[str]:
    if name == "*":
        return list(element.attributes.values())
    return [element.attributes[name]] if name in element.attributes else []


def _children(element: Element, step: Step, now: dt.datetime) -> list[Element]:
    found = [child for child in element.children if step.name in ("*", child.name)]
    for predicate in step.predicates:
        found = [
            child
            for position, child in enumerate(found, 1)
            if _holds(predicate, _Place(element=child, position=position, now=now))
        ]
    return found


def _holds(expression: Expression, place: _Place) -> bool:
    match expression:
        case Both(parts):
            return all(_holds(part, place) for part in parts)
        case Either(parts):
            return any(_holds(part, place) for part in parts)
        case Comparison(sign, left, right):
            return _compared(sign, _value(left, place), _value(right, place))
        case Literal(value) if isinstance(value, str):
            return bool(value)
        case Literal(value):
            return place.position == value  # Data[2]
        case _:
            found = _value(expression, place)
            return bool(found) and found == found  # NaN is none


def _value(expression: Expression, place: _Place) -> _Value:
    match expression:
        case Literal(value):
            return (value,) if isinstance(value, str) else value
        case Path():
            return _selected(expression, place.element, place.now)
        case Call("position"):
            return place.position
        case Call("band", arguments):
            one, other = (_whole(_value(each, place)) for each in arguments)
            return one & other
        case Call(_, arguments):
            return _timediff([_filetime(_value(each, place)) for each in arguments], place.now)
    return float(_holds(expression, place))


def _compared(sign: str, left: _Value, right: _Value) -> bool:
    """Whether any value on the left stands so to any on the right."""
    if isinstance(left, tuple) and isinstance(right, tuple):
        return any(_texts_compared(sign, one, other) for one in left for other in right)
    lefts = [_number(each) for each in left] if isinstance(left, tuple) else [left]
    rights = [_number(each) for each in right] if isinstance(right, tuple) else [right]
    return any(
        _COMPARE[sign](one, other) for one in lefts for other in rights if one == one and other == other
    )


def _texts_compared(sign: str, one: str, other: str) -> bool:
    """Texts are the same or not; moments, and numbers, are also before or after one another."""
    if sign in ("=", "!="):
        return (one == other) is (sign == "=")
    moments = _moment(one), _moment(other)
    if moments[0] is not None and moments[1] is not None:
        return _COMPARE[sign](_ticks(moments[0]), _ticks(moments[1]))
    return _COMPARE[sign](_number(one), _number(other))


def _number(text: str) -> float:
    try:
        return int(text, 16) if text[:2].lower() == "0x" else float(text)
    except ValueError:
        return _NAN


def _whole(value: _Value) -> int:
    """The value as bits; nothing where it is no number."""
    if isinstance(value, tuple):
        text = value[0] if value else "0"
        try:
            return int(text, 16) if text[:2].lower() == "0x" else int(text)
        except ValueError:
            return 0
    return int(value) if value == value else 0


def _timediff(moments: list[float], now: dt.datetime) -> float:
    """Milliseconds from the first to the second, or to now."""
    first, second = moments[0], moments[1] if len(moments) > 1 else float(_ticks(now))
    return (second - first) / _TICKS_PER_MS


def _filetime(value: _Value) -> float:
    if not isinstance(value, tuple):
        return value
    moment = _moment(value[0]) if value else None
    return _NAN if moment is None else float(_ticks(moment))


def _moment(text: str) -> dt.datetime | None:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)


def _ticks(moment: dt.datetime) -> int:
    return (moment - _FILETIME_EPOCH) // dt.timedelta(microseconds=1) * 10
