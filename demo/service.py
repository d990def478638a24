"""Start, kill and stop the service that the demo drives."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import innkeeper
from demo.place import Place
from innkeeper.errors import ServiceError

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0

#: Shorter than the defaults: the demo's guests have nothing to grow bad slowly with.
_SOAK_SECONDS = 10.0
_SETTINGS = """\
[policy]
soak_seconds = {soak_seconds}
health_seconds = 20
"""


class StartError(Exception):
    """The service did not start; says where to look."""


class Service:
    """``innkeeper serve`` as a process of its own, on a hypervisor of its own."""

    def __init__(self, place: Place, *, soak_seconds: float = _SOAK_SECONDS) -> None:
        self._place = place
        self._process: subprocess.Popen[bytes] | None = None
        place.settings.write_text(_SETTINGS.format(soak_seconds=soak_seconds))

    def start(self) -> innkeeper.Inn:
        """Start it and connect. Raises ``StartError``."""
        place = self._place
        with place.service_log.open("ab") as log:
            self._process = subprocess.Popen(
                [*innkeeper_command("serve"), "--config", place.settings, "--state-dir", place.state,
                 "--hypervisor", place.uri],
                env=environment(place), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                # Ctrl-C is for the demo, which then puts the machines out before the service.
                start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(ServiceError):
                return innkeeper.connect(socket=place.socket)
            time.sleep(0.1)
        raise StartError(f"The service did not start. What it said is in {place.service_log}.")

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """Ask it to end, and see that it has."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
            return
        self.kill()


def innkeeper_command(*arguments: str) -> list[str]:
    """Innkeeper's command line, as this Python has it."""
    return [sys.executable, "-m", "innkeeper.cli", *arguments]


def environment(place: Place) -> dict[str, str]:
    """Where a command finds the demo's service."""
    return os.environ | {"INNKEEPER_SOCKET": str(place.socket)}


def end_leftovers(place: Place) -> None:
    """End whatever an earlier run of the demo left behind: it was killed itself, or its service was."""
    for pid in _processes_of(place):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _STOP_SECONDS
    while any(True for _ in _processes_of(place)) and time.monotonic() < deadline:
        time.sleep(0.05)


def _processes_of(place: Place) -> Iterator[int]:
    """Our own QEMUs and services: they name a path of this place on their command line."""
    mark = f"{place.root}/".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            arguments = (process / "cmdline").read_bytes().split(b"\0")
            ours = process.stat().st_uid == os.getuid() and int(process.name) != os.getpid()
            program = Path(os.fsdecode(arguments[0])).name
            known = program.startswith("qemu-") or b"innkeeper.cli" in arguments
            if ours and known and any(mark in argument for argument in arguments):
                yield int(process.name)
