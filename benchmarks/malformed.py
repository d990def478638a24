"""Send a running service what makes no sense; see that others are served meanwhile, and that memory stays.

Run ``make bench``, or ``COUNT=1000000 python benchmarks/malformed.py`` for the long form.
"""

from __future__ import annotations

import contextlib
import json
import math
import multiprocessing
import os
import random
import re
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.door import Connection, running

COUNT = int(os.environ.get("COUNT", "30000"))
SENDERS = 2
#: Many of them wait for more bytes that never come: each process has so many under way at once.
LANES = 32
#: Sent before anything is measured: caches fill (SQLite's alone takes 2 MiB), pools grow; that is no leak.
WARMING = 20_000
#: The service gives free memory back twice a minute; what it holds is told when it has.
REST_SECONDS = 65
RESULTS = Path("build/bench/malformed.json")

#: Good requests that nonsense is made of.
_PATHS = (
    "/v1/machines",
    "/v1/updates",
    "/v1/windows",
    "/v1/schedule/task",
    "/v1/tasks/1/cancel",
    "/v1/disks/create",
)

STRANGE = (
    "/v1/../../etc/passwd",
    "/v1/machines/%00",
    "/v1/machines/%0d%0aSet-Cookie:%20a=b",
    "//evil/",
    "/%c0%ae%c0%ae/",
    "/v1/machines/" + "x" * 5000,
    "/v1/tasks/" + "9" * 400,
    "/v1/tasks?limit=" + "1e" * 500,
)

Make = Callable[[random.Random], bytes]


def _request(chance: random.Random, body: bytes, kind: str = "application/json") -> bytes:
    head = f"POST {chance.choice(_PATHS)} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def garbage(chance: random.Random) -> bytes:
    """No HTTP at all."""
    return chance.randbytes(chance.randrange(1, 2000)) + b"\r\n\r\n"


def broken_head(chance: random.Random) -> bytes:
    """A good head, with some of its bytes changed."""
    data = bytearray(_request(chance, b"{}"))
    for _ in range(chance.randrange(1, 8)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    return bytes(data)


def lying_length(chance: random.Random) -> bytes:
    """Lengths that are none, and chunks that are none."""
    message = chance.choice(("-1", "1e3", "99999999999999999999", "0x10", "5, 6"))
    more = chance.choice(("", "Transfer-Encoding: chunked\r\n"))
    return f"POST /v1/windows HTTP/1.1\r\nHost: x\r\n{more}Content-Length: {message}\r\n\r\nzz\r\n".encode()


def endless_head(chance: random.Random) -> bytes:
    """A head over the limit."""
    return (
        b"GET /v1/machines HTTP/1.1\r\nHost: x\r\nX: " + b"a" * chance.choice((70_000, 200_000)) + b"\r\n\r\n"
    )


def no_json(chance: random.Random) -> bytes:
    """Bodies that are no JSON, or not UTF-8, or too deep."""
    bodies = (b"{", b"[" * 50_000, b'{"name": "\xff\xfe"}', b"\x00" * 100, b"NaN", b'{"a":' * 2000)
    return _request(chance, chance.choice(bodies))


def wrong_json(chance: random.Random) -> bytes:
    """JSON that no request is."""
    value: object = chance.choice(
        (None, [], 5, "x" * 3000, {"name": []}, {"path": 2**80}, {"machine": {"a": 1}})
    )
    return _request(chance, json.dumps(value).encode(), chance.choice(("application/json", "text/xml", "")))


def strange_path(chance: random.Random) -> bytes:
    """Paths that climb, split headers, hold NULs, or go on and on."""
    head = f"GET {chance.choice(STRANGE)} HTTP/1.1\r\nHost: x\r\nLast-Event-ID: {chance.random()}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode()


KINDS: tuple[Make, ...] = (
    garbage, broken_head, lying_length, endless_head, no_json, wrong_json, strange_path,
)  # fmt: skip


def send(door: str, seed: int, count: int, answers: multiprocessing.Queue[Counter[str]]) -> None:
    """Send so many, some of them at once, and count what is answered."""
    with ThreadPoolExecutor(LANES) as lanes:
        seeds = range(seed * LANES, (seed + 1) * LANES)
        answers.put(
            sum(lanes.map(lambda each: send_in_turn(door, each, count // LANES), seeds), Counter[str]())
        )


def send_in_turn(door: str, seed: int, count: int) -> Counter[str]:
    """Send so many, each on a connection of its own."""
    chance, counted = random.Random(seed), Counter[str]()  # noqa: S311  # nonsense is no secret
    for number in range(count):
        data = KINDS[number % len(KINDS)](chance)
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection:
            connection.settimeout(0.3)  # what waits for more bytes is left alone
            try:
                connection.connect(door)
                connection.sendall(data)
                counted[_status(connection.recv(4096))] += 1
            except OSError as error:
                counted[type(error).__name__] += 1
    return counted


def _status(answer: bytes) -> str:
    found = re.match(rb"HTTP/1\.1 (\d{3})", answer)
    return found[1].decode() if found else "hung up"


@contextlib.contextmanager
def served(door: Path) -> Iterator[list[float]]:
    """Read a machine ten times a second as any user would; yields the milliseconds that each took."""
    times: list[float] = []
    done = threading.Event()

    def read() -> None:
        while not done.wait(0.1):
            begin = time.perf_counter()
            Connection(door).get("/v1/machines/web-1")
            times.append((time.perf_counter() - begin) * 1000)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield times
    finally:
        done.set()
        reader.join()


def memory_mib(door: Path, line: str = "VmRSS") -> float:
    """The resident memory of the process that listens there; ``VmHWM``: the most that it ever was."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as probe:
        probe.connect(str(door))
        pid = int.from_bytes(probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], sys.byteorder)
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.findall(rf"{line}:\s+(\d+)", status)[0]) / 1024


def attack(door: Path, count: int, seed: int) -> Counter[str]:
    """Send so many from several processes; what was answered."""
    answers: multiprocessing.Queue[Counter[str]] = multiprocessing.Queue()
    senders = [
        multiprocessing.Process(target=send, args=(str(door), seed + number, count // SENDERS, answers))
        for number in range(SENDERS)
    ]
    for sender in senders:
        sender.start()
    counted = sum((answers.get() for _ in senders), Counter[str]())
    for sender in senders:
        sender.join()
    return counted


def main() -> None:
    """Measure, and print what came of it."""
    with tempfile.TemporaryDirectory(prefix="innkeeper-bench-") as temporary:
        place = Path(temporary)
        door = place / "door.sock"
        serve = [sys.executable, "-m", "innkeeper.cli", "--socket", str(door), "serve"]
        serve += ["--fake", "3", "--speed", "1", "--state-dir", str(place / "state")]
        with running(serve, door):
            attack(door, WARMING, seed=1)
            time.sleep(REST_SECONDS)
            before = memory_mib(door)
            begin = time.perf_counter()
            with served(door) as times:
                counted = attack(door, COUNT, seed=1000)
            seconds = time.perf_counter() - begin
            time.sleep(REST_SECONDS)
            after, most = memory_mib(door), memory_mib(door, "VmHWM")
    times.sort()
    p99 = times[math.ceil(len(times) * 0.99) - 1]
    let_in = sum(count for status, count in counted.items() if status.startswith("2"))
    print(
        f"{counted.total():,} requests that make no sense in {seconds:.0f} s: {dict(counted.most_common())}"
    )
    print(f"  broken heads that are good all the same: {let_in:,}; server errors: {counted['500']:,}")
    print(f"  memory: {before:.1f} MiB before, {most:.1f} at most, {after:.1f} a minute after")
    print(
        f"  others meanwhile: {len(times):,} served, p50 {statistics.median(times):.1f} ms, p99 {p99:.1f} ms"
    )
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    figures = {
        "before_mib": before,
        "most_mib": most,
        "after_mib": after,
        "p99_ms": p99,
        "server_errors": counted["500"],
    }
    RESULTS.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
