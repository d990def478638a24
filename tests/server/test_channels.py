"""Channels through the service's doors, to simulated guests; with curl and the command line."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.sync.client import ClientConnection, unix_connect

from innkeeper.client.channels import Channel
from innkeeper.errors import ErrorCode, InnkeeperError
from tests.serving import INNKEEPER, Service


@pytest.fixture
def web(service: Service) -> Iterator[Channel]:
    """A channel to a simulated web server."""
    with service.connect() as inn:
        channel = inn.machines["web-1"].start_communication_channel(r"\\.\pipe\Web one/1", 80)
        yield channel
        channel.close()


def test_any_program_may_use_the_socket(service: Service, web: Channel) -> None:
    """curl reaches the guest's web server, and the channel counts it."""
    page = subprocess.run(
        ["curl", "-sS", "--unix-socket", str(web.socket), "http://web-1/"], capture_output=True, check=True
    )
    assert page.stdout == b"This is web-1, a simulated machine.\n"
    message = web.read()
    assert (message.connections, message.cut, message.refused) == (1, 0, 0)
    assert message.bytes_from_guest > message.bytes_to_guest > 0
    assert message.is_ready


def test_command_line_shows_and_carries(service: Service, web: Channel) -> None:
    """List, show, JSON, and a connection through standard input and output."""
    assert "web one/1" in service.run("channel", "list").out.lower()
    # A long path is folded in its column.
    assert str(web.socket) in "".join(service.run("channel", "show", "WEB ONE/1").out.split())
    listed = json.loads(service.run("channel", "list", "--json").out)
    assert [each["guest_port"] for each in listed["channels"]] == [80]
    carried = subprocess.run(
        [*_command(service), "channel", "connect", "web one/1"],
        input=b"GET / HTTP/1.0\r\n\r\n", capture_output=True, check=True, timeout=60,
    )  # fmt: skip
    assert carried.stdout.endswith(b"This is web-1, a simulated machine.\n")


def test_connect_opens_the_channel_of_a_port(service: Service) -> None:
    """With a machine and a port no channel need be there before; the second time it is."""
    for _ in range(2):
        echoed = subprocess.run(
            [*_command(service), "channel", "connect", "web-1", "7"],
            input=b"hello", capture_output=True, check=True, timeout=60,
        )  # fmt: skip
        assert echoed.stdout == b"hello"
    assert service.run("channel", "close", "web-1-7").code == 0
    gone = service.run("channel", "close", "web-1-7")
    assert (gone.code, "There is no pipe" in gone.err) == (3, True)


def test_connection_goes_through_the_http_door_too(service: Service) -> None:
    """From another computer it is a WebSocket: bytes both ways, and each way's own end."""
    with service.connect() as inn:
        channel = inn.machines["web-1"].start_communication_channel(r"\\.\pipe\echo", "7")
        try:
            with _web_socket(service, "echo") as socket:
                data = bytes(range(256)) * 2000
                for start in range(0, len(data), 60_000):
                    socket.send(data[start : start + 60_000])
                socket.send(b"")
                assert _to_end(socket) == data
        finally:
            channel.close()


def test_bad_arguments_come_back_as_their_errors(service: Service) -> None:
    """The client raises what the service says, with the documented identifier."""
    with service.connect() as inn:
        machine = inn.machines["web-1"]
        for pipe, port, code in (
            (r"\\.\pipe\a\b", 80, ErrorCode.E_INVALIDARG),
            ("x" * 300, 80, ErrorCode.E_INVALIDARG),
            (r"\\.\pipe\a", "http", ErrorCode.E_INVALIDARG),
            (None, 80, ErrorCode.E_POINTER),
            (r"\\.\pipe\a", 25, ErrorCode.E_ACCESSDENIED),
        ):
            with pytest.raises(InnkeeperError) as caught:
                machine.start_communication_channel(pipe, port)
            assert caught.value.code is code
        with pytest.raises(InnkeeperError) as caught:
            inn.machines["old-1"].start_communication_channel(r"\\.\pipe\a", 80)
        assert caught.value.code is ErrorCode.VM_E_VM_NOT_RUNNING


def test_channels_outlive_a_killed_service_and_end_with_their_machine(own_service: Service) -> None:
    """After kill -9 the same pipe listens again; when the machine is turned off it is gone."""
    own_service.start()
    with own_service.connect() as inn:
        socket = inn.machines["web-1"].start_communication_channel(r"\\.\pipe\web", 80).socket
    own_service.kill()
    own_service.start()
    page = subprocess.run(
        ["curl", "-sS", "--unix-socket", str(socket), "http://web-1/"], capture_output=True, check=True
    )
    assert page.stdout.startswith(b"This is web-1")
    with own_service.connect() as inn:
        inn.machines["web-1"].turn_off().wait_for_completion(60_000)
        _until_gone(socket)
        assert len(inn.channels) == 0
    assert own_service.stop() == 0


def _until_gone(socket: Path) -> None:
    deadline = time.monotonic() + 20
    while socket.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _command(service: Service) -> list[str]:
    return [*INNKEEPER, "--socket", str(service.socket)]


def _web_socket(service: Service, name: str) -> ClientConnection:
    return unix_connect(str(service.socket), f"ws://innkeeper/v1/channels/{name}", compression=None)


def _to_end(socket: ClientConnection) -> bytes:
    data = b""
    while piece := socket.recv(timeout=20):
        assert isinstance(piece, bytes)
        data += piece
    return data
