"""Screens at the HTTP door: pictures, sizes, and the wires to displays and serial consoles."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator

import httpx
import pytest
from PIL import Image
from websockets.exceptions import ConnectionClosedOK, InvalidStatus
from websockets.sync.client import ClientConnection, unix_connect
from websockets.typing import Origin

from tests.serving import Service


@pytest.fixture
def http(service: Service) -> Iterator[httpx.Client]:
    """The local door."""
    transport = httpx.HTTPTransport(uds=str(service.socket))
    with httpx.Client(transport=transport, base_url="http://innkeeper/v1/machines") as client:
        yield client


def _open(service: Service, path: str, origin: str | None = None) -> ClientConnection:
    said = None if origin is None else Origin(origin)
    return unix_connect(str(service.socket), f"ws://innkeeper/v1/machines/{path}", origin=said)


def test_a_screenshot_is_a_picture_with_a_tag(http: httpx.Client) -> None:
    """Whoever has it already is not sent it again."""
    answer = http.get("/web-1/screenshot")
    assert answer.headers["Content-Type"] == "image/png"
    assert Image.open(io.BytesIO(answer.content)).size == (1024, 768)
    again = http.get("/web-1/screenshot", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_thumbnail_keeps_its_proportions(http: httpx.Client) -> None:
    """Within the bounds given, and never made bigger."""
    small = http.get("/web-1/screenshot", params={"width": 200, "height": 200})
    assert Image.open(io.BytesIO(small.content)).size == (200, 150)
    whole = http.get("/web-1/screenshot", params={"width": 4096})
    assert Image.open(io.BytesIO(whole.content)).size == (1024, 768)
    assert len(http.get("/web-1/thumbnail").json()["pixels"]) == 64 * 48
    assert set(http.get("/old-1/thumbnail").json()["pixels"]) == {0}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/nobody/screenshot", None, 404, "VM_E_VM_UNKNOWN"),
        ("GET", "/old-1/screenshot", None, 409, "VM_E_VM_NOT_RUNNING"),
        ("GET", "/web-1/screenshot?width=1", None, 422, "E_INVALIDARG"),
        ("GET", "/web-1/screenshot?height=99999", None, 422, "E_INVALIDARG"),
        ("PUT", "/web-1/display", {"width": 639, "height": 480}, 422, "E_INVALIDARG"),
        ("PUT", "/web-1/display", {"width": 640, "height": 1921}, 422, "E_INVALIDARG"),
        ("PUT", "/web-1/display", {"width": 2056, "height": 480}, 422, "E_INVALIDARG"),
        ("PUT", "/old-1/display", {"width": 800, "height": 600}, 409, "VM_E_VM_NOT_RUNNING"),
        ("PUT", "/nobody/display", {"width": 800, "height": 600}, 404, "VM_E_VM_UNKNOWN"),
    ],
)
def test_what_cannot_be_shown_is_refused_as_documented(
    http: httpx.Client, method: str, path: str, body: dict[str, int] | None, status: int, code: str
) -> None:
    """With the identifier that the documents give to it."""
    answer = http.request(method, path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_display_takes_another_size(service: Service, http: httpx.Client) -> None:
    """A width is cut to a multiple of 8; viewers who can follow are told."""
    with _open(service, "web-1/vnc") as viewer:
        _greet(viewer)
        viewer.send(struct.pack(">BxHi", 2, 1, -308) + struct.pack(">BBHHHH", 3, 0, 0, 0, 1, 1))
        _take(viewer, 16 + 4 * 1024 * 768)
        assert http.put("/web-1/display", json={"width": 807, "height": 600}).json() == {
            "width": 800,
            "height": 600,
        }
        viewer.send(struct.pack(">BBHHHH", 3, 1, 0, 0, 1, 1))
        update = _take(viewer, 16)
        assert struct.unpack_from(">BxHHHHHi", update) == (0, 2, 0, 0, 800, 600, -308)
    shown = http.get("/web-1/display").json()
    assert (shown["width"], shown["height"], shown["video_mode"]) == (800, 600, "SVGA_MODE")
    http.put("/web-1/display", json={"width": 1024, "height": 768})


def test_what_a_viewer_types_is_on_the_screen(service: Service, http: httpx.Client) -> None:
    """And what is no RFB ends the connection, not the service."""
    before = http.get("/db-1/screenshot").content
    with _open(service, "db-1/vnc") as viewer:
        _greet(viewer)
        for character in "root":
            viewer.send(struct.pack(">BBxxI", 4, 1, ord(character)))
        viewer.send(struct.pack(">BBHHHH", 3, 0, 0, 0, 1, 1))
        assert viewer.recv(timeout=10)
        viewer.send(b"\xff" * 100)
        while _bytes_or_end(viewer):
            pass
    assert http.get("/db-1/screenshot").content != before


def test_a_serial_console_can_be_spoken_to(service: Service) -> None:
    """The simulated guest echoes."""
    with _open(service, "web-1/console") as console:
        assert b"login:" in _bytes(console)
        console.send(b"x")
        assert _bytes(console) == b"x"


@pytest.mark.parametrize(
    ("path", "origin", "status"),
    [
        ("old-1/vnc", None, 409),
        ("old-1/console", None, 409),
        ("nobody/vnc", None, 404),
        ("web-1/vnc", "http://elsewhere.example", 403),
        ("web-1/vnc", "null", 403),
    ],
)
def test_a_wire_that_cannot_be_opened_is_refused_with_problem_details(
    service: Service, path: str, origin: str | None, status: int
) -> None:
    """Also to pages of other sites, whoever looks at them."""
    with pytest.raises(InvalidStatus) as caught:
        _open(service, path, origin)
    assert caught.value.response.status_code == status
    assert b"urn:innkeeper:error" in caught.value.response.body
    assert "Traceback" not in service.log.read_text()


def _greet(viewer: ClientConnection) -> None:
    assert _bytes(viewer) == b"RFB 003.008\n"
    for word in (b"RFB 003.008\n", b"\x01", b"\x01"):
        viewer.send(word)
        viewer.recv(timeout=10)


def _bytes(socket: ClientConnection) -> bytes:
    data = socket.recv(timeout=10)
    assert isinstance(data, bytes)
    return data


def _bytes_or_end(socket: ClientConnection) -> bytes:
    try:
        return _bytes(socket)
    except ConnectionClosedOK:
        return b""


def _take(socket: ClientConnection, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += _bytes(socket)
    return data
