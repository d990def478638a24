"""Values that no request takes, answers that nobody understands, and a connection that is closed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer

import pytest

import innkeeper
from innkeeper.client import Inn
from innkeeper.errors import ErrorCode, InvalidArgument, ServiceError
from innkeeper.wire.messages import BookRequest
from tests.serving import Service

#: Half a character, as a file's name that is no Unicode has it.
_HALF = "web-\udcff"


@pytest.fixture
def inn(service: Service) -> Iterator[Inn]:
    """A connection to a service with simulated machines."""
    with service.connect() as connected:
        yield connected


@pytest.mark.parametrize(
    ("field", "call"),
    [
        ("memory_mb", lambda inn: inn.machines["web-1"].change(memory_mb=5)),
        ("option", lambda inn: inn.machines["web-1"].startup2(99)),
        ("labels", lambda inn: inn.machines["web-1"].add_labels(*(f"l{n}" for n in range(65)))),
        ("days", lambda inn: inn.people.tokens.make("x", days=99999)),
        ("bus", lambda inn: inn.machines["web-1"].attach_usb_device(1000, 1)),
        ("identifier", lambda inn: inn.machines["web-1"].updates.book(label="", identifier="x" * 300)),
        ("memory_mib", lambda inn: inn.machines.create("new", memory_mib="much")),
        ("colour", lambda inn: inn.machines.create("new", colour="red")),
        ("value", lambda inn: inn.machines["web-1"].set_configuration_value("k", object())),
        ("name", lambda inn: inn.machines[_HALF]),
        ("machine", lambda inn: list(inn.tasks.search(machine=_HALF))),
        ("notes", lambda inn: inn.machines["web-1"].change(notes=_HALF)),
        ("machine", lambda inn: inn.updates.list(machine=_HALF)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_value_that_no_request_takes_names_its_field(
    inn: Inn, field: str, call: Callable[[Inn], object]
) -> None:
    """E_INVALIDARG, before anything is sent; never an error of the library that builds requests."""
    with pytest.raises(InvalidArgument) as caught:
        call(inn)
    assert caught.value.hresult == 0x80070057
    assert (caught.value.field.partition(".")[0], field in str(caught.value)) == (field, True)


async def test_the_asynchronous_client_says_the_same(service: Service) -> None:
    """It is the same objects."""
    async with innkeeper.connect_async(socket=service.socket) as inn:
        with pytest.raises(InvalidArgument, match="option"):
            await inn.run(lambda inn: inn.machines["web-1"].startup2(99))  # type: ignore[arg-type]  # wrong


def test_the_service_names_the_field_too(inn: Inn) -> None:
    """What only the service can know is wrong carries the field to the client's error."""
    with pytest.raises(InvalidArgument) as caught:
        inn.tasks[2**80]
    assert caught.value.hresult == 0x80070057
    assert caught.value.field == "task_id"


def test_a_request_is_read_as_before() -> None:
    """The service reads it from JSON, where the errors are those of the HTTP door."""
    read = BookRequest.model_validate_json('{"machine": "web-1", "identifier": "x"}')
    assert read == BookRequest(machine="web-1", identifier="x")


def test_calls_after_close_say_that_the_connection_is_closed(service: Service) -> None:
    """ERROR_ONLY_IF_CONNECTED (0x800704E3), at once: a wait does not hope for it to come back."""
    inn = service.connect()
    machine, task = inn.machines["web-1"], inn.machines["db-1"].reset()
    inn.close()
    calls: list[Callable[[], object]] = [
        inn.read, machine.startup, machine.configuration, task.read, task.wait, inn.machines.list,
        lambda: list(inn.events()), machine.display.open, lambda: inn.schedule.operations,
    ]  # fmt: skip
    for call in calls:
        if task.known.is_complete and call in (task.read, task.wait):
            continue
        with pytest.raises(ServiceError) as caught:
            call()
        assert caught.value.hresult == 0x800704E3


async def test_the_asynchronous_client_says_that_it_is_closed(service: Service) -> None:
    """As the plain one does."""
    async with innkeeper.connect_async(socket=service.socket) as inn:
        await inn.close()
        with pytest.raises(ServiceError) as caught:
            await inn.run(lambda inn: inn.machines.list())
        assert caught.value.code is ErrorCode.ERROR_ONLY_IF_CONNECTED


@pytest.mark.parametrize("answer", [b"{}", b"[1]", b"\xff", b"null", b'{"machines": [{"name": 5}]}'])
def test_an_answer_that_is_not_understood_is_told_in_a_sentence(tmp_path: Path, answer: bytes) -> None:
    """A service that is newer, or broken, or none of ours."""
    with _Foreign(tmp_path / "s.sock", answer) as place, pytest.raises(ServiceError) as caught:
        innkeeper.connect(socket=place)
    assert caught.value.code is ErrorCode.ERROR_INVALID_DATA
    assert "does not understand" in str(caught.value)


class _Foreign:
    """A server that answers everything with the same bytes."""

    def __init__(self, socket: Path, answer: bytes) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def address_string(self) -> str:
                return "local"

            def log_message(self, *arguments: object) -> None:
                pass

        self._socket = socket
        self._server = ThreadingUnixStreamServer(str(socket), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Path:
        self._thread.start()
        return self._socket

    def __exit__(self, *reason: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def test_half_an_address_is_refused() -> None:
    """A bracket that is not closed is no address, on the command line as in Python."""
    with pytest.raises(InvalidArgument, match="is not an address"):
        innkeeper.connect("http://[::1")
