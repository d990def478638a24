"""Idempotency keys: a repeated POST with the same ``Idempotency-Key`` gets the first answer again."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import hashlib
import re
import time
from typing import Final, Protocol

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from innkeeper.errors import ErrorCode, InnkeeperError, InvalidArgument, NotPermitted
from innkeeper.server.http.callers import CALLER
from innkeeper.server.http.problems import response_of
from innkeeper.tasks.ports import Clock

HEADER: Final = "idempotency-key"
#: How long an answer is kept for a repetition.
KEPT_FOR: Final = dt.timedelta(hours=24)
#: An answer longer than this is not kept; what asks for so much is no command.
#: A request whose answer is missing after this was cut short, if another server has it: it may have died.
_LIKELY_SECONDS: Final = 60.0
_MOST_HEARD_OF: Final = 1000
#: How long the answer of another server is waited for, and between two looks for it.
_ANOTHER_DOOR_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.1
_MAX_KEPT_BYTES: Final = 64 * 1024
#: Between the digest of a request and that of its caller's rights.
_PARTS: Final = ":"
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")


class KeptAnswer(Protocol):
    """The stored answer to the first request with a key."""

    @property
    def fingerprint(self) -> str:
        """Digest of the request, to recognise another request with the same key."""

    @property
    def status(self) -> int | None:
        """The answer's status; ``None`` while the first request is under way."""

    @property
    def media_type(self) -> str:
        """The body's media type."""

    @property
    def body(self) -> bytes | None:
        """The answer's body; ``None`` where it may not be stored."""


class AnswerStore(Protocol):
    """Stores the answers to requests with a key, across restarts."""

    async def claim(
        self, key: str, *, fingerprint: str, now: dt.datetime, forget_before: dt.datetime
    ) -> KeptAnswer | None:
        """Claim a key for a request, or return what is stored under it.

        Keys taken before ``forget_before`` are free again.
        """

    async def keep(self, key: str, *, status: int, media_type: str, body: bytes | None) -> None:
        """Store the answer."""

    async def release(self, key: str) -> None:
        """Release the key of a request that was refused, so that nothing was done."""


class IdempotencyKeys:
    """Middleware: answers a repeated POST with the same ``Idempotency-Key`` as the first time.

    The key belongs to the one who sends it. It is taken before anything is done; a refused request gives it
    back. Where the service broke or ended in the middle, nobody knows
    the outcome, and a repetition is told so.
    """

    def __init__(self, app: ASGIApp, store: AnswerStore, clock: Clock, *, is_shared: bool = False) -> None:
        """``is_shared``: other servers answer requests with the same keys."""
        self._app = app
        self._is_shared = is_shared
        self._store = store
        self._clock = clock
        self._under_way: set[str] = set()
        #: Since when requests are known here that another server has not answered yet.
        self._heard_of: dict[str, float] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or send the stored answer."""
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        caller = scope.get(CALLER)
        # What one who is unknown was told is nobody else's to be told again.
        if HEADER not in headers or scope["method"] != "POST" or caller is None:
            await self._app(scope, receive, send)
            return
        if not _KEY.fullmatch(headers[HEADER]):
            await response_of(_bad_key())(scope, receive, send)
            return
        try:
            body = await _whole(receive)
        except InnkeeperError as error:  # too long
            await response_of(error)(scope, receive, send)
            return
        key = _digest(caller.name, headers[HEADER])
        request = _digest("POST", scope["path"], scope.get("query_string", b"").decode("latin-1"), body)
        fingerprint = f"{request}{_PARTS}{_digest(*caller.rights)}"
        now = self._clock.now()
        first = await self._store.claim(key, fingerprint=fingerprint, now=now, forget_before=now - KEPT_FOR)
        waited = 0.0
        while first is not None and self._is_at_another_door(key, first) and waited < _ANOTHER_DOOR_SECONDS:
            await asyncio.sleep(_LOOK_SECONDS)
            waited += _LOOK_SECONDS
            first = await self._store.claim(
                key, fingerprint=fingerprint, now=now, forget_before=now - KEPT_FOR
            )
        if first is not None:
            await self._again(key, first, fingerprint)(scope, receive, send)
            return
        self._under_way.add(key)
        try:
            await self._first(key, scope, _replayed(body, receive), send)
        finally:
            self._under_way.discard(key)

    def _is_at_another_door(self, key: str, first: KeptAnswer) -> bool:
        """Whether another server may be answering the first request now: it may have died meanwhile."""
        if not self._is_shared or first.status is not None or key in self._under_way:
            return False
        while len(self._heard_of) > _MOST_HEARD_OF:
            del self._heard_of[next(iter(self._heard_of))]
        now = time.monotonic()
        return now - self._heard_of.setdefault(key, now) < _LIKELY_SECONDS

    async def _first(self, key: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Carry the request out and store its answer before sending it."""
        answer = _Answer()
        await self._app(scope, receive, answer)
        if answer.is_in_doubt:
            pass  # it may have been done: a repetition is told so
        elif answer.status >= 400:
            await self._store.release(key)
        else:
            await self._store.keep(
                key, status=answer.status, media_type=answer.media_type, body=answer.body_to_keep
            )
        for message in answer.messages:
            await send(message)

    def _again(self, key: str, first: KeptAnswer, fingerprint: str) -> Response:
        request, _, rights = fingerprint.partition(_PARTS)
        known_request, _, known_rights = first.fingerprint.partition(_PARTS)
        if known_request != request:
            return response_of(_other_request())
        if known_rights != rights:
            return response_of(_other_rights())
        if first.status is None:
            is_under_way = key in self._under_way or self._is_at_another_door(key, first)
            return response_of(_under_way() if is_under_way else _cut_short(), status=409)
        if first.body is None:
            return response_of(_not_kept(), status=409)
        headers = {"Idempotent-Replayed": "true"}
        return Response(first.body, first.status, headers, first.media_type or None)


@dataclasses.dataclass
class _Answer:
    """Collects an answer until it is complete."""

    messages: list[Message] = dataclasses.field(default_factory=list)

    async def __call__(self, message: Message) -> None:
        """Collect one more message of the answer."""
        self.messages.append(message)

    @property
    def status(self) -> int:
        """The answer's status."""
        return int(self.messages[0]["status"])

    @property
    def is_in_doubt(self) -> bool:
        """Whether the database went away in the middle, so that nobody knows what was done."""
        return self.status == 503 and "retry-after" in self._headers

    @property
    def media_type(self) -> str:
        """The body's media type."""
        return self._headers.get("content-type", "")

    @property
    def body_to_keep(self) -> bytes | None:
        """The body to be stored; ``None`` where it holds a secret or is too long."""
        body = b"".join(message.get("body", b"") for message in self.messages[1:])
        is_secret = "no-store" in self._headers.get("cache-control", "")
        return None if is_secret or len(body) > _MAX_KEPT_BYTES else body

    @property
    def _headers(self) -> Headers:
        return Headers(raw=self.messages[0]["headers"])


async def _whole(receive: Receive) -> bytes:
    """Return the whole body of a request; its size was checked before."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a ``receive`` that gives the body again, and then what follows it."""
    pieces = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return pieces.pop() if pieces else await receive()

    return again


def _digest(*parts: str | bytes) -> str:
    """Return one digest of several parts and their borders."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def _bad_key() -> InnkeeperError:
    return InvalidArgument(
        "The Idempotency-Key is not valid: it has 1 to 255 visible ASCII characters.",
        advice="Use a new UUID for each thing that you want done once.",
    )


def _other_request() -> InnkeeperError:
    return InvalidArgument(
        "This Idempotency-Key was used for another request before.",
        code=ErrorCode.ERROR_ALREADY_EXISTS,
        advice="Use a key of its own for each thing that you want done once.",
    )


def _other_rights() -> InnkeeperError:
    return NotPermitted(
        "The first request with this Idempotency-Key was made with other rights.",
        advice="Send it with a new key: it is looked at anew what you may do.",
    )


def _under_way() -> InnkeeperError:
    return InvalidArgument(
        "The first request with this Idempotency-Key is still being answered.",
        code=ErrorCode.ERROR_BUSY,
        advice="Send it again in a second.",
    )


def _cut_short() -> InnkeeperError:
    return InvalidArgument(
        "The service was stopped while it answered the first request with this Idempotency-Key.",
        code=ErrorCode.ERROR_BUSY,
        advice="See whether it was done (GET /v1/tasks); if not, send it with a new key.",
    )


def _not_kept() -> InnkeeperError:
    return InvalidArgument(
        "The first request with this Idempotency-Key was carried out; its answer is not kept.",
        code=ErrorCode.ERROR_ALREADY_EXISTS,
        advice="Read what it created; a secret is shown only once.",
    )
