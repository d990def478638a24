"""What the caller of a request may see: names mean machines among these alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Protocol, TypeVar


class Placed(Protocol):
    """A machine on a host, of which little more needs to be known."""

    @property
    def host(self) -> str:
        """The host's name."""

    @property
    def name(self) -> str:
        """The machine's name on its host."""

    @property
    def key(self) -> str:
        """What programs call the machine."""


P = TypeVar("P", bound=Placed)

#: Whether somebody may see a machine.
MaySee = Callable[[Placed], bool]

_may_see: ContextVar[MaySee | None] = ContextVar("may_see", default=None)


@contextlib.contextmanager
def seeing(may_see: MaySee | None) -> Iterator[None]:
    """Limit what names mean to what somebody may see, within a block of code; ``None`` sees everything."""
    before = _may_see.set(may_see)
    try:
        yield
    finally:
        _may_see.reset(before)


def among_seen(found: Sequence[P]) -> Sequence[P]:
    """Those of several machines that may be seen; what only one can be meant by stays.

    The role on that one is checked where it is used, and a namesake that may not be seen is not told of.
    """
    may_see = _may_see.get()
    if may_see is None or len(found) < 2:
        return found
    return [each for each in found if may_see(each)]
