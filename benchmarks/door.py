"""Measure the HTTP door beside bare Starlette: the list of 5,000 machines, and single objects.

Run ``make bench``, or ``python benchmarks/door.py`` for this one alone. Service and bare application run as
processes of their own on Unix sockets, asked in turn by the same client.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

MACHINES = int(os.environ.get("MACHINES", "5000"))
LIST_SECONDS = 15.0
LISTS_A_SECOND = 20
ROUNDS = 15
READS = 1000
RESULTS = Path("build/bench/door.json")

#: One JSON object of the same size, from Starlette alone, on the same HTTP implementation: uvicorn's on h11,
#: with the service's own protocol class, so that what that one gains is gained on both sides.
BARE = """
import sys, uvicorn
from innkeeper.server.http.connections import HttpProtocol
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
body = b'{"filler": "' + b"x" * (int(sys.argv[2]) - 14) + b'"}'
async def read(request):
    return Response(body, media_type="application/json")
app = Starlette(routes=[Route("/v1/machines/{name}", read)])
uvicorn.run(app, uds=sys.argv[1], http=HttpProtocol, lifespan="off", access_log=False, log_level="error")
"""


class Connection:
    """One connection that is kept, and asked again and again."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._rest = b""

    def get(self, path: str) -> bytes:
        """The body of a good answer."""
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: innkeeper\r\n\r\n".encode())
        while b"\r\n\r\n" not in self._rest:
            self._more()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        pieces, have = [self._rest], len(self._rest)
        while have < length:
            pieces.append(self._socket.recv(1 << 20))
            have += len(pieces[-1])
        body = b"".join(pieces)
        self._rest = body[length:]
        return body[:length]

    def _more(self) -> None:
        piece = self._socket.recv(1 << 16)
        assert piece, "the service hung up"
        self._rest += piece


@contextlib.contextmanager
def running(command: list[str], door: Path) -> Iterator[None]:
    """A server, from when it can be reached."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 300
        while True:
            with contextlib.suppress(OSError), contextlib.closing(socket.socket(socket.AF_UNIX)) as probe:
                probe.connect(str(door))
                break
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server did not open its door"
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait()


def list_times(door: Path) -> tuple[list[float], int]:
    """Milliseconds of each list, asked at a steady pace whether or not the last one came; and its bytes."""
    connection = Connection(door)
    size = len(connection.get("/v1/machines"))
    times = []
    begin = time.perf_counter()
    for number in range(int(LIST_SECONDS * LISTS_A_SECOND)):
        due = begin + number / LISTS_A_SECOND
        time.sleep(max(0.0, due - time.perf_counter()))
        connection.get("/v1/machines")
        times.append((time.perf_counter() - due) * 1000)
    return times, size


def reads_a_second(door: Path, path: str) -> float:
    """How many of these one client gets, one after the other."""
    connection = Connection(door)
    for _ in range(200):
        connection.get(path)
    begin = time.perf_counter()
    for _ in range(READS):
        connection.get(path)
    return READS / (time.perf_counter() - begin)


def main() -> None:
    """Measure, and print a table."""
    with tempfile.TemporaryDirectory(prefix="innkeeper-bench-") as temporary:
        place = Path(temporary)
        ours, bare = place / "ours.sock", place / "bare.sock"
        serve = [
            sys.executable,
            "-m",
            "innkeeper.cli",
            "--socket",
            str(ours),
            "serve",
            "--fake",
            str(MACHINES),
        ]
        serve += ["--state-dir", str(place / "state"), "--speed", "1"]
        with running(serve, ours):
            machine = json.loads(Connection(ours).get("/v1/machines"))["machines"][0]["name"]
            size = len(Connection(ours).get(f"/v1/machines/{machine}"))
            with running([sys.executable, "-c", BARE, str(bare), str(size)], bare):
                pairs = [
                    (
                        reads_a_second(ours, f"/v1/machines/{machine}"),
                        reads_a_second(bare, f"/v1/machines/{machine}"),
                    )
                    for _ in range(ROUNDS)
                ]
            times, list_bytes = list_times(ours)
    times.sort()
    p99 = times[math.ceil(len(times) * 0.99) - 1]
    rate, bare_rate = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
    ratio = statistics.median(one / other for one, other in pairs)
    print(
        f"list of {MACHINES:,} machines ({list_bytes / 1e6:.1f} MB), {LISTS_A_SECOND} a second, for a person:"
    )
    print(f"  p50 {statistics.median(times):.1f} ms, p99 {p99:.1f} ms (aim: 60 ms)")
    print(f"one machine: {rate:,.0f} a second, bare Starlette {bare_rate:,.0f}: {ratio:.2f} (aim: 0.7)")
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    figures = {"list_p50_ms": statistics.median(times), "list_p99_ms": p99, "read_ratio": ratio}
    RESULTS.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
