"""Measure the pages' live stream: viewers by the hundred, each of whom gets every event, soon.

One process is the service on its local door, with a publisher inside it; another holds the viewers. Each
event carries when it was published, on the clock that both processes share; each viewer counts what comes.

    python -m benchmarks.viewers                    # 200 viewers, 100 events a second, 10 seconds
    python -m benchmarks.viewers --viewers 50
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime as dt
import json
import os
import re
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import uvicorn

from innkeeper.server.app import make_app
from innkeeper.server.compose import open_house
from innkeeper.server.house import House
from innkeeper.server.peers import local_protocols
from innkeeper.server.settings import FakeSettings, Settings
from innkeeper.server.sockets import local_door
from innkeeper.wire.events import Event, EventKind, Json

_REQUEST = b"GET /pages/events?kinds=task.* HTTP/1.1\r\nHost: innkeeper\r\nAccept: text/event-stream\r\n\r\n"
_SENT = re.compile(rb'"number":(\d+),"sent":(\d+)')
#: No event's text is longer: what is kept of a chunk, in case one was cut in two.
_TAIL_BYTES = 120
_KIND = EventKind.TASK_CHANGED
_TOLD: dict[str, Json] = {
    "description": "Update web-1: Security",
    "phase": "Waiting for the guest's agent",
    "phase_number": 7,
    "phase_count": 20,
    "percent": 42,
}


def main() -> int:
    """Run both halves, and say what was measured; 1 where an event was lost."""
    arguments = _arguments()
    if arguments.serve is not None:
        asyncio.run(_serve(Path(arguments.serve), arguments.rate, arguments.seconds))
        return 0
    with tempfile.TemporaryDirectory() as directory:
        service = _start(Path(directory), arguments)
        try:
            found = _view(Path(directory) / "s.sock", arguments)
        finally:
            service.send_signal(signal.SIGTERM)
            service.wait(20)
    print(json.dumps(found, indent=2))
    return 0 if found["lost"] == 0 else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--viewers", type=int, default=200)
    parser.add_argument("--rate", type=int, default=100, help="events a second")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    return parser.parse_args()


# The service


async def _serve(directory: Path, rate: int, seconds: float) -> None:
    settings = Settings(state_dir=directory / "state", socket=directory / "s.sock", fake=FakeSettings())
    async with open_house(settings) as house:
        with local_door(settings) as door:
            config = uvicorn.Config(
                make_app(house),
                http=local_protocols(house.settings)[0],
                ws="none",
                lifespan="off",
                log_level="error",
            )
            server = uvicorn.Server(config)
            publishing = asyncio.create_task(_publish(house, directory / "go", rate, seconds))
            await server.serve(sockets=[door])
            house.events.close()
            publishing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await publishing


async def _publish(house: House, go: Path, rate: int, seconds: float) -> None:
    """Publish evenly from the moment that the viewers are all there."""
    while not await asyncio.to_thread(go.exists):  # noqa: ASYNC110  # another process says so
        await asyncio.sleep(0.05)
    started = time.monotonic()
    for number in range(round(rate * seconds)):
        await asyncio.sleep(max(0.0, started + number / rate - time.monotonic()))
        # As much as a task tells of itself.
        data: dict[str, Json] = {"number": number, "sent": time.monotonic_ns(), "id": 1, **_TOLD}
        house.events.publish(Event(kind=_KIND, subject="1", at=dt.datetime.now(dt.UTC), data=data))


# The viewers


def _start(directory: Path, arguments: argparse.Namespace) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "benchmarks.viewers", "--serve", str(directory)]
    command += ["--rate", str(arguments.rate), "--seconds", str(arguments.seconds)]
    service = subprocess.Popen(command)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and service.poll() is None:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(directory / "s.sock"))
            return service
        time.sleep(0.05)
    raise SystemExit("the service did not start")


def _view(path: Path, arguments: argparse.Namespace) -> dict[str, float | int]:
    """Hold the viewers until each has had its time; returns what came, and how late."""
    expected = round(arguments.rate * arguments.seconds)
    with selectors.DefaultSelector() as selector:
        viewers = [_viewer(path, selector) for _ in range(arguments.viewers)]
        # Each has had its first sign of life before the first event is published.
        for viewer in viewers:
            viewer.connection.recv(65_536)
            viewer.connection.setblocking(False)
        (path.parent / "go").touch()
        latencies: list[int] = []
        deadline = time.monotonic() + arguments.seconds + 20
        while time.monotonic() < deadline and any(viewer.seen < expected for viewer in viewers):
            for key, _ in selector.select(0.5):
                latencies += key.data.read()
        for viewer in viewers:
            viewer.connection.close()
    latencies.sort()
    return {
        "viewers": arguments.viewers,
        "events_a_second": arguments.rate,
        "seconds": arguments.seconds,
        "delivered": len(latencies),
        "lost": arguments.viewers * expected - len(latencies),
        "p50_ms": round(latencies[len(latencies) // 2] / 1e6, 1),
        "p99_ms": round(latencies[len(latencies) * 99 // 100] / 1e6, 1),
        "max_ms": round(latencies[-1] / 1e6, 1),
        "load_1min": round(os.getloadavg()[0], 1),
    }


class _Viewer:
    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.seen = 0
        self._tail = b""

    def read(self) -> list[int]:
        """How late each event was that has just come, in nanoseconds; each is told once, and in order."""
        try:
            data = self._tail + self.connection.recv(1 << 20)
        except BlockingIOError:
            return []
        now = time.monotonic_ns()
        late: list[int] = []
        end = 0
        for found in _SENT.finditer(data):
            # A number that the chunk may have cut short is left for the next one.
            if found.end() == len(data):
                break
            end = found.end()
            if int(found[1]) != self.seen:
                raise SystemExit(f"event {found[1].decode()} came where {self.seen} was to come")
            self.seen += 1
            late.append(now - int(found[2]))
        self._tail = data[max(end, len(data) - _TAIL_BYTES) :]
        return late


def _viewer(path: Path, selector: selectors.BaseSelector) -> _Viewer:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(path))
    connection.sendall(_REQUEST)
    viewer = _Viewer(connection)
    selector.register(connection, selectors.EVENT_READ, viewer)
    return viewer


if __name__ == "__main__":
    sys.exit(main())
