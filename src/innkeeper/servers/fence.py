"""A fence: what stands before each act on a host, and lets only the host's owner through."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

from innkeeper.errors import HypervisorError

T = TypeVar("T")


class HostElsewhere(HypervisorError):
    """Another server owns the host, or none does and this one may not."""


class FenceClosed(HypervisorError):
    """This server may not act on the host now; whether it may again, ``Fence.settled`` tells."""


class Fence(Protocol):
    """The fence of one host."""

    @property
    def epoch(self) -> int:
        """The epoch of the lease by which this server acts; 0 where there are none."""

    async def claim(self, host_id: str) -> None:
        """Take the host, once it has said who it is, and before anything is done to it.

        Raises ``HostElsewhere`` where another server owns it.
        """

    async def opened(self) -> None:
        """Begin this server's work on the host, which is ready for it."""

    async def settled(self) -> None:
        """Wait until this server may act on the host. Raises ``HostElsewhere`` where it lost it."""

    def check(self, *, final: bool = False) -> None:
        """Raise ``FenceClosed`` where this server may not act: in the thread that acts, right before.

        ``final``: what cannot be undone comes next, so the database is looked at too. Blocks.
        """


class OpenFence:
    """The fence of a host that no other server works on: it lets everything through."""

    @property
    def epoch(self) -> int:
        """There are no leases."""
        return 0

    async def claim(self, host_id: str) -> None:
        """Nobody else has it."""

    async def opened(self) -> None:
        """Whoever opened it goes on by itself."""

    async def settled(self) -> None:
        """There is nothing to wait for."""

    def check(self, *, final: bool = False) -> None:
        """Admit the act."""


#: For hosts of a service that has its database for itself.
OPEN: Final = OpenFence()


async def through(fence: Fence, call: Callable[[], Awaitable[T]]) -> T:
    """Make a call whose own thread checks the fence: again where it was closed, once it is open."""
    while True:
        await fence.settled()
        try:
            return await call()
        except FenceClosed:
            continue


async def passed(fence: Fence) -> None:
    """Pass the fence, before an act that cannot be undone and has no thread that checks it."""
    if fence is not OPEN:  # an open one takes no thread, and no time
        await through(fence, lambda: asyncio.to_thread(fence.check, final=True))
