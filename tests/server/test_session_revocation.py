"""A request that goes on is ended too where nobody can look its caller up, after a bounded time."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive, Scope, Send

from innkeeper.server.identity.session_revocation import RevocableRequest, Revocations

_LOOK_SECONDS = 0.02
_UNKNOWN_SECONDS = 0.3


async def _stream(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer for ever."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await asyncio.Event().wait()


class _Lookup:
    """Finds the caller, but at the looks that fail."""

    def __init__(self, failing: range) -> None:
        self.looks = 0
        self._failing = failing

    async def __call__(self) -> bool:
        self.looks += 1
        if self.looks in self._failing:
            raise OSError("Too many open files")
        return True


async def _nothing() -> Message:
    await asyncio.Event().wait()
    raise AssertionError("nobody sends")


async def _run(lookup: _Lookup) -> list[Message]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    request = RevocableRequest(lookup, Revocations(), _LOOK_SECONDS, _UNKNOWN_SECONDS)
    await request.run(_stream, {"type": "http"}, _nothing, send)
    return sent


async def test_a_stream_whose_caller_can_no_longer_be_looked_up_ends() -> None:
    """Whatever the look fails of; it ended the watch, and the stream went on for ever."""
    async with asyncio.timeout(20):
        sent = await _run(_Lookup(failing=range(2, 1_000_000)))
    assert sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


async def test_a_look_that_fails_once_ends_nothing() -> None:
    """The next one is made all the same, and the caller is still who they were."""
    lookup = _Lookup(failing=range(2, 4))
    running = asyncio.create_task(_run(lookup))
    while lookup.looks < 30:
        await asyncio.sleep(_LOOK_SECONDS)
        assert not running.done()
    running.cancel()
    await asyncio.wait({running})
