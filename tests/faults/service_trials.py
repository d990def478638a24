"""Faults of the computer that a service of its own lives through, with simulated machines and at work."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from innkeeper.errors import InnkeeperError
from tests.faults.fault import Seen
from tests.serving import Service

_CONNECTIONS = 3000
_HOURS = 3600
_SECONDS = 15.0
_FAKETIME = (
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
)


@contextlib.contextmanager
def _service(environment: dict[str, str] | None = None) -> Iterator[Service]:
    """A service at work, which is looked at and stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="ik-f-", dir="/tmp") as folder:
        service = Service(Path(folder), machines=20, speed=60)
        service.environment.update(environment or {})
        service.add_arguments("--lively")
        try:
            service.start()
            yield service
        finally:
            service.end()


def _verdict(service: Service, during: str, within_seconds: float = 60) -> Seen:
    """Whether it is well afterwards: ready, takes a change, has written no traceback, and ends in order."""
    deadline = time.monotonic() + within_seconds
    began = time.monotonic()
    state = "is not ready"
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError, InnkeeperError), service.http() as http:
            if http.get("/readyz").status_code == 200:
                state = ""
                break
        time.sleep(0.2)
    took = time.monotonic() - began
    if not state:
        with contextlib.suppress(httpx.HTTPError), service.http() as http:
            label = {"select": "*", "add": ["tried"]}
            status = http.post("/v1/machines/label", json=label).status_code
            state = "" if status < 300 else f"answers a change with {status}"
    log = service.log.read_text()
    tracebacks = log.count("Traceback (most recent call last)")
    faults = [state] if state else []
    if tracebacks:
        faults.append(f"wrote {tracebacks} tracebacks")
    try:
        code = service.stop()
    except AssertionError:
        code = -9
    if code != 0:
        faults.append(f"ended with {code}")
    words = (
        f"{during}; well again after {took:.1f} s" if not faults else f"{during}; it {', it '.join(faults)}"
    )
    return Seen(holds=not faults, words=words)


def _answers(service: Service, path: str) -> str:
    try:
        with service.http() as http:
            return str(http.get(path, timeout=5).status_code)
    except httpx.HTTPError as error:
        return type(error).__name__


def locked_store() -> Seen:
    """Somebody holds SQLite's file."""
    with _service() as service:
        file = service.state_dir / "innkeeper.sqlite"
        with contextlib.closing(sqlite3.connect(file, timeout=30, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            time.sleep(_SECONDS)
            livez, readyz = _answers(service, "/livez"), _answers(service, "/readyz")
            during = f"while it was locked: livez {livez}, readyz {readyz}"
            other.execute("ROLLBACK")
        seen = _verdict(service, during)
        return Seen(holds=bool(seen.holds and livez == "200" and readyz == "503"), words=seen.words)


def paused_service() -> Seen:
    """The process stands still, as on a computer that was suspended."""
    with _service() as service:
        os.kill(service.pid, signal.SIGSTOP)
        time.sleep(_SECONDS)
        os.kill(service.pid, signal.SIGCONT)
        return _verdict(service, f"stood still for {_SECONDS:.0f} s")


def no_descriptors() -> Seen:
    """No file can be opened any more."""
    with _service() as service:
        _, hard = resource.prlimit(service.pid, resource.RLIMIT_NOFILE)
        held = len(list(Path(f"/proc/{service.pid}/fd").iterdir()))
        resource.prlimit(service.pid, resource.RLIMIT_NOFILE, (held + 2, hard))
        with _connections(service, 40) as opened:
            time.sleep(_SECONDS / 3)
            said = service.log.read_text().count("event=out_of_descriptors ")
            during = f"{opened} connections for 2 descriptors: said {said} times"
        resource.prlimit(service.pid, resource.RLIMIT_NOFILE, (hard, hard))
        return _verdict(service, during)


def many_connections() -> Seen:
    """Three thousand callers that say nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with _service() as service, _connections(service, min(_CONNECTIONS, hard - 200)) as opened:
            time.sleep(2)
            during = f"{opened:,} connections that say nothing: livez {_answers(service, '/livez')}"
            return _verdict(service, during)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def _connections(service: Service, count: int) -> Iterator[int]:
    with contextlib.ExitStack() as opened:
        done = 0
        for _ in range(count):
            connection = opened.enter_context(contextlib.closing(socket.socket(socket.AF_UNIX)))
            connection.settimeout(2)
            with contextlib.suppress(OSError):
                connection.connect(str(service.socket))
                done += 1
        yield done


def two_services() -> Seen:
    """Another one is started on the same state."""
    with _service() as service:
        other = Service(service.directory / "other")
        (service.directory / "other").mkdir()
        other.state_dir = service.state_dir
        refused = other.run_apart("serve", "--fake", "1", "--state-dir", str(service.state_dir))
        said = (refused.err or refused.out).strip().splitlines()
        during = f"the second ended with {refused.code}: {said[-1][:100] if said else 'without a word'}"
        seen = _verdict(service, during)
        return Seen(
            holds=bool(seen.holds and refused.code and "Traceback" not in refused.err), words=seen.words
        )


def read_only_state() -> Seen:
    """The file system of the state was mounted read-only, and the service is started again."""
    if os.geteuid() == 0:
        return Seen(holds=None, words="root writes everywhere")
    with _service() as service:
        service.stop()
        inside = [service.state_dir, *(each for each in service.state_dir.rglob("*"))]
        modes = {each: each.stat().st_mode for each in inside if not each.is_symlink()}
        for each, mode in modes.items():
            each.chmod(mode & ~0o222)
        try:
            command = ("serve", "--fake", "1", "--state-dir", str(service.state_dir))
            refused = service.run_apart(*command)
        finally:
            for each, mode in reversed(modes.items()):
                each.chmod(mode)
        said = (refused.err or refused.out).strip().splitlines()
        during = f"it ended with {refused.code}: {said[0][:120] if said else 'without a word'}"
        if not refused.code or "Traceback" in refused.err + refused.out:
            return Seen(holds=False, words=during)
        service.start()
        return _verdict(service, during)


def clock_jumps(hours: float) -> Callable[[], Seen]:
    """The computer's clock jumps by so many hours."""

    def trial() -> Seen:
        library = next((each for each in _FAKETIME if Path(each).exists()), None)
        if library is None:
            return Seen(holds=None, words="libfaketime is not installed")
        with tempfile.TemporaryDirectory(prefix="ik-t-") as folder:
            shift = Path(folder) / "shift"
            shift.write_text("+0\n")
            environment = {
                "LD_PRELOAD": library,
                "FAKETIME_TIMESTAMP_FILE": str(shift),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
            with _service(environment) as service:
                shift.write_text(f"{hours * _HOURS:+.0f}\n")
                time.sleep(_SECONDS)
                return _verdict(service, f"jumped by {hours:+g} hours")

    return trial


def little_memory() -> Seen:
    """Hardly any address space is left."""
    with _service() as service:
        held = int(Path(f"/proc/{service.pid}/statm").read_text().split()[0]) * resource.getpagesize()
        resource.prlimit(service.pid, resource.RLIMIT_AS, (held + (16 << 20), resource.RLIM_INFINITY))
        statuses = {_answers(service, path) for path in ("/v1/machines", "/v1/windows", "/v1/updates")}
        resource.prlimit(service.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        return _verdict(service, f"with 16 MiB left it answered {', '.join(sorted(statuses))}")


def killed(signals: int = 3) -> Seen:
    """It is killed, and started again."""
    with _service() as service:
        for _ in range(signals):
            time.sleep(1)
            service.kill()
            service.start()
        return _verdict(service, f"killed {signals} times")
