"""Greenlet bridge: plain calls that wait on an event loop, each in a greenlet of its own.

So the objects of the client serve scripts and services alike: the same code, on one core.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar, cast

from greenlet import getcurrent, greenlet

T = TypeVar("T")


class _Hop(greenlet):
    """Where one call runs; ``out`` is where its loop waits for it."""

    def __init__(self, call: Callable[[], Any]) -> None:
        out = getcurrent()
        super().__init__(call, out)
        self.out = out
        self.gr_context = out.gr_context


async def on_loop(call: Callable[[], T]) -> T:
    """Make a call; whatever it waits for by ``wait_for`` is awaited here, and a cancel reaches it there."""
    hop = _Hop(call)
    came = hop.switch()
    while not hop.dead:
        try:
            value = await came
        except BaseException:
            came = hop.throw(*sys.exc_info())
        else:
            came = hop.switch(value)
    return cast(T, came)


def wait_for(awaitable: Awaitable[T]) -> T:
    """Wait for something inside a call that ``on_loop`` makes."""
    hop = getcurrent()
    if not isinstance(hop, _Hop):
        if isinstance(awaitable, Coroutine):
            awaitable.close()
        raise RuntimeError("This connection waits on an event loop: use it inside AsyncInn.run.")
    return cast(T, hop.out.switch(awaitable))
