"""Go four ways into one guest: a channel, QEMU's port forwarding, a raw port, qemu-guest-agent."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from benchmarks.channel.guest import ECHO_PORT, FORWARDED, SINK_PORT, SOURCE_PORT, BenchGuest

_PIECE_BYTES = 64 * 1024
_TICKS = os.sysconf("SC_CLK_TCK")

Connect = Callable[[int], socket.socket]


class ServiceProcess:
    """The service's half of channels (see ``service``)."""

    def __init__(self, agent_port: Path, directory: Path) -> None:
        self._directory = directory
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.channel.service", str(agent_port), str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self._line() != "ready":
            raise RuntimeError("the channels did not open")

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def connect(self, port: int) -> socket.socket:
        """Connect through the channel to this port."""
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self._directory / str(port)))
        return connection

    def ask(self, word: str) -> tuple[int, int, int]:
        """Its descriptors, its memory in KiB and its connections so far, after it has done as told."""
        typed: IO[str] | None = self._process.stdin
        assert typed is not None
        typed.write(f"{word}\n")
        typed.flush()
        descriptors, memory, connections = self._line().split()
        return int(descriptors), int(memory), int(connections)

    def end(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def _line(self) -> str:
        message: IO[str] | None = self._process.stdout
        assert message is not None
        return message.readline().strip()


def forwarded(port: int) -> socket.socket:
    """Connect through QEMU's user network."""
    return socket.create_connection(("127.0.0.1", FORWARDED[port]))


def processor_seconds(pid: int) -> float:
    """The processor time that a process has taken so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


# TCP, by either way


def round_trips(connect: Connect, count: int) -> list[float]:
    """Milliseconds of each of so many round trips of 64 bytes."""
    with connect(ECHO_PORT) as sock:
        return _trips(lambda: sock.sendall(bytes(64)), lambda: _exactly(sock, 64), count)


def upload(connect: Connect, size: int, streams: int = 1) -> float:
    """Send ``size`` bytes in all to the guest; returns MB/s."""

    def one() -> None:
        piece = memoryview(bytes(_PIECE_BYTES))
        share = size // streams
        with connect(SINK_PORT) as sock:
            for _ in range(share // _PIECE_BYTES):
                sock.sendall(piece)
            sock.shutdown(socket.SHUT_WR)
            if int(_to_end(sock)) != share:
                raise RuntimeError("bytes were lost")

    return _rate(one, size, streams)


def download(connect: Connect, size: int, streams: int = 1) -> float:
    """Take ``size`` bytes in all from the guest; returns MB/s."""

    def one() -> None:
        share = size // streams
        with connect(SOURCE_PORT) as sock:
            sock.sendall(b"%d" % share)
            buffer, total = bytearray(1 << 18), 0
            while got := sock.recv_into(buffer):
                total += got
            if total != share:
                raise RuntimeError("bytes were lost")

    return _rate(one, size, streams)


def _rate(one: Callable[[], None], size: int, streams: int) -> float:
    failures: list[Exception] = []

    def guarded() -> None:
        try:
            one()
        except Exception as error:  # a thread's failure must be the benchmark's
            failures.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(streams)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return size / 1e6 / (time.perf_counter() - begin)


# The raw port


class RawPort:
    """A virtio-serial port without frames, without TCP."""

    def __init__(self, guest: BenchGuest) -> None:
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.connect(str(guest.raw_port))

    def round_trips(self, count: int) -> list[float]:
        """Milliseconds of each of so many round trips of 64 bytes."""
        word = b"e" * 64
        return _trips(lambda: self._sock.sendall(word), lambda: _exactly(self._sock, 64), count)

    def upload(self, size: int) -> float:
        """MB/s to the guest."""
        self._sock.sendall(b"sink%d" % size)
        _exactly(self._sock, 2)
        begin = time.perf_counter()
        piece = bytes(_PIECE_BYTES)
        for _ in range(size // _PIECE_BYTES):
            self._sock.sendall(piece)
        _exactly(self._sock, 4)
        return size / 1e6 / (time.perf_counter() - begin)

    def download(self, size: int) -> float:
        """MB/s from the guest."""
        begin = time.perf_counter()
        self._sock.sendall(b"source%d" % size)
        buffer, total = bytearray(1 << 18), 0
        while total < size:
            total += self._sock.recv_into(buffer)
        return size / 1e6 / (time.perf_counter() - begin)


# qemu-guest-agent


class GuestAgent:
    """Files through qemu-guest-agent."""

    def __init__(self, guest: BenchGuest) -> None:
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.settimeout(60)
        self._sock.connect(str(guest.guest_agent_port))
        self._file = self._sock.makefile("rb")
        self._ask("guest-sync", id=7)

    def round_trips(self, count: int) -> list[float]:
        """Milliseconds of each of so many pings."""
        return _trips(lambda: self._send("guest-ping"), self._answer, count)

    def upload(self, size: int) -> float:
        """MB/s into a file of the guest's memory."""
        piece = base64.b64encode(bytes(_PIECE_BYTES)).decode()
        with self._open("w") as handle:
            begin = time.perf_counter()
            for _ in range(size // _PIECE_BYTES):
                self._ask("guest-file-write", handle=handle, **{"buf-b64": piece})
            return size / 1e6 / (time.perf_counter() - begin)

    def download(self, size: int) -> float:
        """MB/s from a file of the guest's memory, which was uploaded before."""
        with self._open("r") as handle:
            begin = time.perf_counter()
            for _ in range(size // _PIECE_BYTES):
                self._ask("guest-file-read", handle=handle, count=_PIECE_BYTES)
            return size / 1e6 / (time.perf_counter() - begin)

    @contextlib.contextmanager
    def _open(self, mode: str) -> Iterator[object]:
        handle = self._ask("guest-file-open", path="/run/bench", mode=mode)
        yield handle
        self._ask("guest-file-close", handle=handle)

    def _ask(self, execute: str, **arguments: object) -> object:
        self._send(execute, **arguments)
        return self._answer()

    def _send(self, execute: str, **arguments: object) -> None:
        self._sock.sendall(json.dumps({"execute": execute, "arguments": arguments}).encode() + b"\n")

    def _answer(self) -> object:
        return json.loads(self._file.readline())["return"]


def _trips(send: Callable[[], object], receive: Callable[[], object], count: int) -> list[float]:
    trips = []
    for _ in range(count):
        begin = time.perf_counter()
        send()
        receive()
        trips.append((time.perf_counter() - begin) * 1000)
    return trips


def percentile(trips: list[float], percent: int) -> float:
    """The percentile of many round trips."""
    return statistics.quantiles(trips, n=100)[percent - 1]


def _exactly(sock: socket.socket, size: int) -> None:
    while size:
        got = len(sock.recv(size))
        if not got:
            raise RuntimeError("the connection broke")
        size -= got


def _to_end(sock: socket.socket) -> bytes:
    data = b""
    while piece := sock.recv(65536):
        data += piece
    return data
