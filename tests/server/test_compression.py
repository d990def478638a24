"""Long answers are compressed for those who take it, and secrets are not; lists come as lines where asked."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message, Scope

from innkeeper.server.http.compression import Compression, takes_gzip
from innkeeper.server.http.lines import MEDIA_TYPE, Lines
from tests.serving import Service

_LONG = {"machines": [{"name": f"web-{number}", "state": "running"} for number in range(2_000)]}


async def _answer(request: Request) -> Response:
    kind = request.path_params["kind"]
    if kind == "short":
        return JSONResponse({"a": 1})
    headers = {"Cache-Control": "no-store"} if kind == "secret" else {"ETag": '"1"'}
    media_type = {"html": "text/html", "picture": "image/png"}.get(kind, "application/json")
    return Response(json.dumps(_LONG), headers=headers, media_type=media_type)


async def _lines(request: Request) -> Response:
    async def lines() -> AsyncIterator[bytes]:
        for number in range(3):
            yield b'{"number": %d}\n' % number

    return StreamingResponse(lines(), media_type=MEDIA_TYPE)


async def _numbers(request: Request) -> Response:
    """A list of 25 in pages of 10."""
    first = int(request.query_params.get("after", "0"))
    limit = int(request.query_params.get("limit", "10"))
    if request.query_params.get("fails") and first:
        return JSONResponse({"error": 1}, 500)
    page = list(range(first, min(first + limit, 25)))
    told = request.query_params.getlist("label")
    items = [{"number": number, "labels": told} for number in page]
    after = str(first + limit) if first + limit < 25 else None
    return JSONResponse({"numbers": items, "next_after": after}, headers={"ETag": '"1"'})


_ROUTES = [Route("/lines", _lines), Route("/numbers", _numbers), Route("/{kind}", _answer)]


def _app(*, near: bool = False) -> Starlette:
    app = Starlette(routes=_ROUTES)
    app.add_middleware(Lines)
    app.add_middleware(Compression, is_near=lambda scope: near)
    return app


def _client(*, near: bool = False) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(_app(near=near))
    return httpx.AsyncClient(transport=transport, base_url="http://inn")


async def test_a_long_answer_is_compressed_for_who_takes_it() -> None:
    """The same bytes arrive, in a tenth of the room, under the same ETag."""
    async with _client() as http:
        answer = await http.get("/json", headers={"Accept-Encoding": "gzip"})
        plain = await http.get("/json", headers={"Accept-Encoding": "identity"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert answer.json() == plain.json() == _LONG
    assert answer.headers["etag"] == plain.headers["etag"]
    assert answer.num_bytes_downloaded < plain.num_bytes_downloaded / 10
    assert "content-encoding" not in plain.headers


@pytest.mark.parametrize("kind", ["short", "secret", "picture", "html"])
async def test_what_gains_nothing_or_holds_a_secret_is_sent_as_it_is(kind: str) -> None:
    """Its length would tell of the secret; a picture is compressed already; a page does it itself."""
    async with _client() as http:
        answer = await http.get(f"/{kind}", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in answer.headers
    assert int(answer.headers["content-length"]) == len(answer.content)


async def test_who_asks_over_the_local_socket_gets_it_as_it_is() -> None:
    """There is no network to spare."""
    async with _client(near=True) as http:
        answer = await http.get("/json", headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in answer.headers


async def test_each_line_of_a_stream_arrives_when_it_is_written() -> None:
    """What a long answer tells of its progress is not held back until its end."""
    sent: list[bytes] = []
    gzip = zlib.decompressobj(16 + zlib.MAX_WBITS)

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            sent.append(gzip.decompress(message["body"]))

    async def receive() -> Message:
        await asyncio.sleep(3600)
        raise AssertionError

    scope: Scope = {
        "type": "http",
        "method": "GET",
        "path": "/lines",
        "query_string": b"",
        "headers": [(b"accept-encoding", b"gzip")],
    }
    await _app()(scope, receive, send)
    assert [piece for piece in sent if piece] == [b'{"number": %d}\n' % number for number in range(3)]


@pytest.mark.parametrize(
    ("asked", "takes"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("*", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("*;q=0, gzip", True),
        ("identity", False),
        ("", False),
    ],
)
def test_what_a_caller_takes_is_read_as_the_standard_says(asked: str, takes: bool) -> None:
    """A weight of nought refuses a coding."""
    assert takes_gzip(asked) is takes


async def test_a_whole_list_comes_as_lines_to_who_asks_for_them() -> None:
    """All pages, with what was asked kept on each, and without a tag of one of them."""
    async with _client() as http:
        answer = await http.get("/numbers?label=a&label=b", headers={"Accept": MEDIA_TYPE})
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert "etag" not in answer.headers
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert lines == [{"number": number, "labels": ["a", "b"]} for number in range(25)]


async def test_who_asks_for_so_many_gets_no_more() -> None:
    """A limit is one of the list, not of its pages."""
    async with _client() as http:
        answer = await http.get("/numbers?limit=12", headers={"Accept": MEDIA_TYPE})
    assert len(answer.text.splitlines()) == 12


async def test_what_is_no_list_is_answered_as_ever() -> None:
    """Nobody is refused for what they would take besides."""
    async with _client() as http:
        answer = await http.get("/short", headers={"Accept": f"{MEDIA_TYPE}, application/json"})
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"a": 1}


async def test_a_list_that_breaks_off_does_not_look_whole() -> None:
    """The connection is cut, so that no program takes half for all."""
    async with _client() as http:
        with pytest.raises(Exception, match="could not be read to its end"):
            await http.get("/numbers?fails=1", headers={"Accept": MEDIA_TYPE})


def test_a_service_answers_with_lines(service: Service) -> None:
    """Machines, tasks and the audit log, at the real door."""
    with service.http() as http:
        for path, name in (("machines", "machines"), ("tasks", "tasks"), ("audit", "entries")):
            whole = http.get(f"/v1/{path}").json()[name]
            answer = http.get(f"/v1/{path}", headers={"Accept": MEDIA_TYPE})
            lines = [json.loads(line) for line in answer.text.splitlines()]
            assert answer.headers["content-type"] == MEDIA_TYPE
            assert lines[: len(whole)] == whole
