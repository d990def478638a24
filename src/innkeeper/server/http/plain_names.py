"""Answers with plain names for machines whose namesakes their reader may not see."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

_WHOLE: Final = ("application/json", "application/problem+json", "text/html", "text/plain")
#: Each piece of these is lines or events, whole.
_IN_PIECES: Final = ("application/x-ndjson", "text/event-stream")


class PlainNames:
    """A ``send`` that writes ``web-1`` for ``attic/web-1``, as texts and in addresses."""

    def __init__(self, send: Send, names: Mapping[str, str]) -> None:
        """``names`` gives the plain name for each whole one."""
        self._send = send
        quoted = {quote(whole, safe=""): quote(name, safe="") for whole, name in names.items()}
        self._plain = {**quoted, **names}
        # A part of a longer name is none, nor is one of a file's path.
        whole, segments = "|".join(map(re.escape, names)), "|".join(map(re.escape, quoted))
        ends = r"(?![\w%-]|\.\w)"
        self._whole = re.compile(rf"(?<![\w./-])(?:{whole})(?!/){ends}|(?<![\w.%-])(?:{segments}){ends}")
        self._start: Message | None = None
        self._body = bytearray()
        self._kind = ""

    async def __call__(self, message: Message) -> None:
        """Send a message of the answer, or keep it until the answer is whole."""
        if message["type"] == "http.response.start":
            self._kind = MutableHeaders(raw=message["headers"]).get("content-type", "").partition(";")[0]
            if self._kind in _WHOLE:
                self._start = message
                return
        elif message["type"] == "http.response.body" and self._kind in _IN_PIECES:
            message = {**message, "body": self._with_plain(message.get("body", b""))}
        elif message["type"] == "http.response.body" and self._start is not None:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._send_whole(self._start)
            return
        await self._send(message)

    async def _send_whole(self, start: Message) -> None:
        body = self._with_plain(bytes(self._body))
        headers = MutableHeaders(raw=list(start["headers"]))
        # An answer to HEAD, and 304, tell the length of what they leave out.
        if "content-length" in headers and self._body:
            headers["content-length"] = str(len(body))
        await self._send({**start, "headers": headers.raw})
        await self._send({"type": "http.response.body", "body": body})

    def _with_plain(self, body: bytes) -> bytes:
        text = body.decode(errors="surrogateescape")
        return self._whole.sub(lambda found: self._plain[found[0]], text).encode(errors="surrogateescape")
