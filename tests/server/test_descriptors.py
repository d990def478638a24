"""A service that can open nothing more says so once, turns callers away, and goes on by itself."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from innkeeper.wire.descriptors import is_shortage
from tests.serving import Service

_CALLERS = 60


@pytest.fixture
def starved(own_service: Service) -> Iterator[Service]:
    """A service that has two descriptors left."""
    own_service.start()
    _, hard = resource.prlimit(own_service.pid, resource.RLIMIT_NOFILE)
    held = len(list(Path(f"/proc/{own_service.pid}/fd").iterdir()))
    resource.prlimit(own_service.pid, resource.RLIMIT_NOFILE, (held + 2, hard))
    try:
        yield own_service
    finally:
        resource.prlimit(own_service.pid, resource.RLIMIT_NOFILE, (hard, hard))


def _answers(callers: list[socket.socket]) -> list[bytes]:
    """What each caller is told; nothing of those who are let in, and wait."""
    deadline = time.monotonic() + 30
    told: dict[int, bytes] = {}
    while len(told) < len(callers) - 4 and time.monotonic() < deadline:
        for number, caller in enumerate(callers):
            with contextlib.suppress(BlockingIOError, ConnectionResetError):
                if number not in told and (data := caller.recv(4096)):
                    told[number] = data
        time.sleep(0.05)
    return list(told.values())


def test_callers_are_turned_away_and_told_so(starved: Service) -> None:
    """With status 503, though no descriptor is left for them; who is in stays in."""
    with contextlib.ExitStack() as opened:
        callers = []
        for _ in range(_CALLERS):
            caller = opened.enter_context(socket.socket(socket.AF_UNIX))
            caller.settimeout(20)
            caller.connect(str(starved.socket))
            caller.setblocking(False)
            callers.append(caller)
        told = _answers(callers)
    assert len(told) >= _CALLERS - 4
    assert all(each.startswith(b"HTTP/1.1 503 ") and b"Retry-After" in each for each in told)
    _see_that_it_is_well(starved)


def _see_that_it_is_well(service: Service) -> None:
    """With the few descriptors that it has again; and it has said once what was wrong."""
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(Exception), service.http() as http:
            if http.get("/livez").status_code == 200:
                break
        assert time.monotonic() < deadline
        time.sleep(0.1)
    log = service.log.read_text()
    assert log.count("event=out_of_descriptors ") == 1
    assert "LimitNOFILE" in log
    assert "Traceback" not in log
    assert "out of system resource" not in log


def test_a_want_of_descriptors_is_found_behind_errors_of_ours() -> None:
    """By the operating system's number, wherever it was raised from."""
    error = RuntimeError("It failed.")
    error.__cause__ = OSError(24, "Too many open files")
    assert is_shortage(error)
    assert not is_shortage(OSError(2, "No such file"))
