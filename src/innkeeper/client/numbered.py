"""Count from one, as the documented collections do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from innkeeper.errors import ErrorCode, InvalidArgument, ScheduleError

T = TypeVar("T")


class NumberedCollection(Generic[T]):
    """A list as it was when it was asked for, numbered as documented (``Count``, ``Item``)."""

    def __init__(self, items: Iterable[T], name_of: Callable[[T], str]) -> None:
        self._items = tuple(items)
        self._name_of = name_of

    @property
    def count(self) -> int:
        """How many there are (``Count``)."""
        return len(self._items)

    def item(self, index: int | str) -> T:
        """The item of this number, from 1, or of this name, whatever its case (``Item``).

        Raises ``InvalidArgument`` (0x80070057) for a number that is none, ``ScheduleError`` (0x80070002)
        for a name.
        """
        if isinstance(index, str):
            return self._named(index)
        if not 1 <= index <= len(self._items):
            raise InvalidArgument(
                f"There is no item {index} among {len(self._items)}.", advice="Items are numbered from 1."
            )
        return self._items[index - 1]

    def __getitem__(self, index: int | str) -> T:
        return self.item(index)

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def _named(self, name: str) -> T:
        wanted = name.casefold()
        for each in self._items:
            if self._name_of(each).casefold() == wanted:
                return each
        raise ScheduleError(f"There is no {name!r} in it.", code=ErrorCode.ERROR_FILE_NOT_FOUND, value=name)
