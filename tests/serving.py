"""Run the real service as a process of its own, with simulated machines, for the tests of the doors."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
from typer.testing import CliRunner

from innkeeper.cli.app import app
from innkeeper.client import Inn, connect
from innkeeper.errors import ServiceError

_START_SECONDS = 120.0
_STOP_SECONDS = 20.0

#: Eighty columns of plain text, in UTC.
_WORLD = {"COLUMNS": "80", "TZ": "UTC", "NO_COLOR": "1"}


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


class Service:
    """``innkeeper serve --fake`` on a state directory of its own."""

    def __init__(self, directory: Path, *, machines: int = 3, speed: float = 600) -> None:
        self.directory = directory
        self.socket = directory / "s.sock"
        self.state_dir = directory / "state"
        self.log = directory / "service.log"
        #: Of its process, besides what this one has.
        self.environment: dict[str, str] = {}
        self._arguments = ["serve", "--fake", str(machines), "--speed", str(speed)]
        self._process: subprocess.Popen[bytes] | None = None

    def add_arguments(self, *arguments: str) -> None:
        """Start it with these as well."""
        self._arguments += arguments

    @property
    def pid(self) -> int:
        """The service's process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*_innkeeper(self), *self._arguments, "--state-dir", str(self.state_dir)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | self.environment,
            )
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(ServiceError), self.connect():
                return
            time.sleep(0.05)
        raise AssertionError(f"the service did not start:\n{self.log.read_text()}")

    def connect(self) -> Inn:
        """A new connection to it."""
        return connect(socket=self.socket)

    def http(self) -> httpx.Client:
        """A plain HTTP client on its local door."""
        return httpx.Client(
            transport=httpx.HTTPTransport(uds=str(self.socket)), base_url="http://innkeeper", timeout=30
        )

    def listen(self, address: str = "127.0.0.1:0") -> None:
        """Start it with a remote door as well."""
        self.add_arguments("--listen", address)

    @property
    def url(self) -> str:
        """Where its remote door is."""
        found = re.findall(r"https?://[^\s'\"),]+", self._told("listening"))
        return str(found[-1])

    @property
    def fingerprint(self) -> str:
        """Of its certificate, as it tells."""
        return str(re.findall(r"([0-9A-F]{2}(?::[0-9A-F]{2}){31})", self._told("listening"))[-1])

    def _told(self, event: str) -> str:
        """The last line of its log about this."""
        return [line for line in self.log.read_text().splitlines() if f"event={event} " in line][-1]

    def kill(self) -> None:
        """End it as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """Ask it to end; returns its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the service did not stop:\n{self.log.read_text()}") from None

    def end(self) -> None:
        """See that it is gone, however the test ended."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def run(self, *arguments: str, stdin: bytes = b"", env: dict[str, str] | None = None) -> Ended:
        """Run a command against it: inside this process, which spares the start of another."""
        line = ["--socket", str(self.socket), *arguments]
        done = CliRunner().invoke(app, line, input=stdin, env=_WORLD | (env or {}))
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Ended(done.exit_code, done.stdout, done.stderr)

    def run_apart(self, *arguments: str) -> Ended:
        """Run a command as a process of its own."""
        return run_command([*_innkeeper(self), *arguments])


def run_command(command: Sequence[str]) -> Ended:
    """Run a command as a process, in the same world."""
    settled = {key: value for key, value in os.environ.items() if not key.startswith("INNKEEPER_")}
    done = subprocess.run(command, capture_output=True, env=settled | _WORLD, timeout=120, check=False)
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


def _innkeeper(service: Service) -> list[str]:
    return [*INNKEEPER, "--socket", str(service.socket)]


#: Innkeeper's command line, as this Python has it.
INNKEEPER = [sys.executable, "-m", "innkeeper.cli"]
