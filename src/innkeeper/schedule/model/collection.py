"""Collections that count from one, as the documented ones do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from innkeeper.errors import ErrorCode, InvalidArgument, ScheduleError

T = TypeVar("T")


class OneBased(Generic[T]):
    """A list whose first item is number 1 (``Item``, ``Count``)."""

    def __init__(self, items: tuple[T, ...] = ()) -> None:
        self._items = list(items)

    @property
    def count(self) -> int:
        """Number of items (``Count``)."""
        return len(self._items)

    def item(self, index: int) -> T:
        """The item of this number, from 1 (``Item``). Raises ``InvalidArgument``."""
        return self._items[self._position(index)]

    def _position(self, index: int) -> int:
        if not isinstance(index, int) or not 1 <= index <= len(self._items):
            raise InvalidArgument(
                f"There is no item {index!r} among {len(self._items)}.", advice="Items are numbered from 1."
            )
        return index - 1

    def __getitem__(self, index: int) -> T:
        return self.item(index)

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, OneBased) and self._items == other._items

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._items!r})"


class Changeable(OneBased[T]):
    """A list from 1 that grows and shrinks (``Remove``, ``Clear``)."""

    #: How many it may hold.
    most: int = 32

    def append(self, item: T) -> T:
        """Add an item at the end. Raises ``ScheduleError`` (0x8004131D) where it is full."""
        if len(self._items) >= self.most:
            raise ScheduleError(
                f"{type(self).__name__} holds {self.most} items at most.",
                code=ErrorCode.SCHED_E_TOO_MANY_NODES,
                node=type(self).__name__,
            )
        self._items.append(item)
        return item

    def remove(self, index: int) -> None:
        """Remove the item of this number, from 1 (``Remove``). Raises ``InvalidArgument``."""
        del self._items[self._position(index)]

    def clear(self) -> None:
        """Remove all items (``Clear``)."""
        self._items.clear()
