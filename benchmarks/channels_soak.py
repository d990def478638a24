"""Open and close channels, 100,000 times, and see that neither side grows: a day's use in minutes.

The real agent and the service's half of channels run as processes, joined by a socket instead of a virtual
machine: ``python -m benchmarks.channels_soak``. Ends with 1 where memory or descriptors grow.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.channel.guest import ECHO_PORT
from benchmarks.channel.ways import ServiceProcess
from innkeeper.machines.guest.bundle import agent_bundle

_OUT = Path(__file__).resolve().parent.parent / "build" / "bench" / "channels_soak.json"
_CLIENTS = 8
_ROUNDS = 10
#: What a Python's allocator may keep without having grown, in KiB.
_SLACK_KIB = 4096


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """How large both sides are at one moment."""

    connections: int
    service_files: int
    service_kib: int
    agent_files: int
    agent_kib: int


def main() -> int:
    """Soak, print a line a round, and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=100_000)
    parser.add_argument("--pipes", type=int, default=5_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ikb-", dir="/tmp") as scratch:
        began = time.monotonic()
        seen = list(_soak(Path(scratch), options.connections, options.pipes))
        seconds = time.monotonic() - began
    first, last = seen[1], seen[-1]
    grown = _growth(first, last)
    print(f"{last.connections} connections, {options.pipes} pipes in {seconds:.0f} s: {grown or 'no growth'}")
    _OUT.parent.mkdir(parents=True, exist_ok=True)
    _OUT.write_text(
        json.dumps({"seconds": seconds, "sizes": [dataclasses.asdict(s) for s in seen]}, indent=2)
    )
    return 1 if grown else 0


def _growth(first: Sizes, last: Sizes) -> str:
    grown = []
    for side in ("service", "agent"):
        files = getattr(last, f"{side}_files") - getattr(first, f"{side}_files")
        kib = getattr(last, f"{side}_kib") - getattr(first, f"{side}_kib")
        if files > 0:
            grown.append(f"the {side} has {files} descriptors more")
        if kib > _SLACK_KIB:
            grown.append(f"the {side} has {kib} KiB more")
    return ", ".join(grown)


def _soak(directory: Path, connections: int, pipes: int) -> Iterator[Sizes]:
    """Sizes before, after each round, and after all."""
    with _echo_server(), _agent(directory) as agent:
        pipe_directory = directory / "pipes"
        service = ServiceProcess(directory / "port", pipe_directory)
        try:
            yield _sizes(service, agent, 0)
            for _ in range(_ROUNDS):
                _converse(service, connections // _ROUNDS)
                yield _sizes(service, agent, pipes // _ROUNDS)
        finally:
            service.end()


def _sizes(service: ServiceProcess, agent: int, churn: int) -> Sizes:
    files, kib, connections = service.ask(f"churn {churn}" if churn else "look")
    pages = int(Path(f"/proc/{agent}/statm").read_text().split()[1])
    sizes = Sizes(
        connections=connections,
        service_files=files,
        service_kib=kib,
        agent_files=sum(1 for _ in Path(f"/proc/{agent}/fd").iterdir()),
        agent_kib=pages * os.sysconf("SC_PAGE_SIZE") // 1024,
    )
    print(
        f"{sizes.connections:>7} connections   service {sizes.service_files} files {sizes.service_kib} KiB"
        f"   agent {sizes.agent_files} files {sizes.agent_kib} KiB",
        flush=True,
    )
    return sizes


def _converse(service: ServiceProcess, count: int) -> None:
    """Connect, say something, hear it, hang up; by several clients at once, and not always politely."""

    def client(share: int) -> None:
        for number in range(share):
            with service.connect(ECHO_PORT) as sock:
                sock.sendall(b"x" * 100)
                if number % 10 == 0:
                    continue  # hangs up without a word
                left = 100
                while left:
                    got = len(sock.recv(left))
                    if not got:
                        raise RuntimeError("the connection was cut")
                    left -= got

    threads = [threading.Thread(target=client, args=(count // _CLIENTS,)) for _ in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _wait_until_quiet(service)


def _wait_until_quiet(service: ServiceProcess) -> None:
    """Those who hung up without a word leave a little later."""
    files = -1
    while files != (files := service.ask("look")[0]):
        time.sleep(0.3)


@contextlib.contextmanager
def _echo_server() -> Iterator[None]:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", ECHO_PORT))
    listener.listen(128)

    def echo(sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            while data := sock.recv(65536):
                sock.sendall(data)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                threading.Thread(target=echo, args=(sock,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield
    listener.close()


@contextlib.contextmanager
def _agent(directory: Path) -> Iterator[int]:
    bundle, port = directory / "agent.pyz", directory / "port"
    bundle.write_bytes(agent_bundle())
    boot_id = directory / "root/proc/sys/kernel/random/boot_id"
    boot_id.parent.mkdir(parents=True)
    boot_id.write_text("soak\n")
    command = [sys.executable, "-I", "-S", str(bundle), "--root", str(directory / "root")]
    agent = subprocess.Popen([*command, "run", "--port", f"unix:{port}"])
    try:
        while not port.exists():
            time.sleep(0.05)
        yield agent.pid
    finally:
        agent.kill()
        agent.wait()


if __name__ == "__main__":
    sys.exit(main())
