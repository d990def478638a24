"""Pages of lists: so many entries in the list's own order, from behind a place in it.

A place is what the last entry of a page is ordered by, not its number: entries that come and go meanwhile
move nothing from one page to another.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Annotated, Final, Generic, TypeVar

from fastapi import Depends, Query

from innkeeper.errors import InvalidArgument
from innkeeper.wire.queries import DEFAULT_LIMIT, MAX_LIMIT

Item = TypeVar("Item")
Ordered = TypeVar("Ordered", contravariant=True)

#: What an entry is ordered by: no other entry of its list has the same.
Place = tuple[str, ...]

#: The longest place, as it is told; a path of a disk is the longest that there is.
_MAX_CHARS: Final = 4_200

#: How many entries are read at once where some of them may be left out.
_AT_ONCE: Final = 1000


@dataclasses.dataclass(frozen=True, slots=True)
class Order(Generic[Ordered]):
    """What a list is ordered by."""

    place: Callable[[Ordered], Place]
    #: How many texts a place has.
    parts: int = 1


def by_fields(*fields: str) -> Order[object]:
    """Return the order by fields of an entry, or of its JSON, such as ``account.machine``."""
    return Order(lambda entry: tuple(_sortable(value_at(entry, field)) for field in fields), len(fields))


#: The order of a list of texts.
BY_TEXT: Final[Order[str]] = Order(lambda text: (text,))


@dataclasses.dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page of a list."""

    entries: Sequence[Item]
    #: Where the next page goes on; nothing where there is none.
    next_after: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class PageWanted:
    """Which page of a list is asked for."""

    after: str | None = None
    limit: int = DEFAULT_LIMIT

    @property
    def is_first(self) -> bool:
        """Whether the list is asked for from its beginning on."""
        return self.after is None

    def of(self, entries: Iterable[Item], order: Order[Item], *, more: bool = False) -> Page[Item]:
        """Return the page of a list; ``more`` says that there is more of it than these entries.

        Raises ``InvalidArgument`` for an ``after`` that is no place in it.
        """
        behind = None if self.after is None else place_of(self.after, order.parts)
        placed = [(order.place(entry), entry) for entry in entries]
        found = sorted(
            (each for each in placed if behind is None or each[0] > behind), key=lambda each: each[0]
        )
        more = more or len(found) > self.limit
        found = found[: self.limit]
        return Page([entry for _, entry in found], told(found[-1][0]) if more and found else None)

    async def read(
        self,
        read: Callable[[Place | None, int], Awaitable[Sequence[tuple[Place, Item]]]],
        is_wanted: Callable[[Item], Awaitable[bool]],
        *,
        parts: int,
    ) -> Page[Item]:
        """Return the page of a list that is read from behind a place, so many entries at once.

        Raises ``InvalidArgument`` for an ``after`` that is no place in it.
        """
        place = None if self.after is None else place_of(self.after, parts)
        found: list[tuple[Place, Item]] = []
        while len(found) <= self.limit:
            batch = await read(place, _AT_ONCE)
            found += [each for each in batch if await is_wanted(each[1])]
            if len(batch) < _AT_ONCE:
                break
            place = batch[-1][0]
        more = len(found) > self.limit
        found = found[: self.limit]
        return Page([entry for _, entry in found], told(found[-1][0]) if more else None)


async def _wanted(
    after: Annotated[
        str | None,
        Query(max_length=_MAX_CHARS, description="What the page before said as `next_after`."),
    ] = None,
    limit: Annotated[
        int, Query(ge=1, le=MAX_LIMIT, description="At the most so many; the others are on the next pages.")
    ] = DEFAULT_LIMIT,
) -> PageWanted:
    return PageWanted(after, limit)


#: The page that a request asks for.
ThePage = Annotated[PageWanted, Depends(_wanted)]


def told(place: Place) -> str:
    """Return a place as an answer tells it."""
    return json.dumps(place, ensure_ascii=False)


def place_of(after: str, parts: int) -> Place:
    """Return the place that a request tells. Raises ``InvalidArgument``."""
    try:
        found = json.loads(after)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or len(found) != parts or not all(isinstance(part, str) for part in found):
        raise wrong_place()
    return tuple(found)


def wrong_place() -> InvalidArgument:
    """Return the refusal of an ``after`` that no page has told."""
    return InvalidArgument(
        "“after” is not a place in this list.",
        advice="Send the value of next_after from the page before.",
    )


def value_at(entry: object, path: str) -> object:
    """Return what an entry, or its JSON, has at a path such as ``account.machine``; ``None`` for nothing."""
    for name in path.split("."):
        entry = entry.get(name) if isinstance(entry, Mapping) else getattr(entry, name, None)
    return entry


def _sortable(value: object) -> str:
    """The value as text in the same order; what is missing comes last."""
    if value is None:
        return "\U0010ffff"
    return f"{value:020}" if isinstance(value, int) else str(value)
