"""The event loop that the journal of runs is kept on: DBOS's own, in a thread beside the service's."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import TypeVar

from dbos import DBOS

T = TypeVar("T")


async def run_on(loop: asyncio.AbstractEventLoop, make: Callable[[], Coroutine[object, object, T]]) -> T:
    """Run a coroutine on another loop, and return what it comes to.

    It begins in a context of its own: what DBOS notes there of a run must not pass to the tasks that the run
    starts.
    """
    result: Future[T] = Future()

    def begin() -> None:
        task = loop.create_task(make())
        task.add_done_callback(lambda done: _pass_on(done, result))

    call_on(loop, begin)
    return await asyncio.wrap_future(result)


def call_on(loop: asyncio.AbstractEventLoop, action: Callable[[], object]) -> None:
    """Run ``action`` on another loop, in a context of its own; raises ``RuntimeError`` where it has gone."""
    loop.call_soon_threadsafe(action, context=contextvars.Context())


def _pass_on(done: asyncio.Task[T], result: Future[T]) -> None:
    if not result.set_running_or_notify_cancel():
        return
    if done.cancelled():
        result.set_exception(asyncio.CancelledError())
    elif (error := done.exception()) is not None:
        result.set_exception(error)
    else:
        result.set_result(done.result())


def journal_loop() -> asyncio.AbstractEventLoop:
    """Return the loop that DBOS runs coroutines on; in a thread, after its launch.

    DBOS puts its own bounded threads under that loop. Were it the service's, every ``to_thread`` of the
    service would stand behind a database that is away.
    """
    return DBOS.run_step(None, _running_loop)


async def _running_loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()
