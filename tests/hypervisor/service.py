"""Run and kill service processes (``worker.py``) from a test."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from innkeeper.hypervisor.libvirt import embedded_root
from innkeeper.wire.events import Json

_ROOT = Path(__file__).parents[2]
_TIMEOUT_S = 60


class Service:
    """A host of its own that one service process after the other works on."""

    def __init__(self, state_directory: Path) -> None:
        self.state_directory = state_directory
        self._process = 0

    def run(self, step: str, *arguments: Json) -> Json:
        """Do a step to its end. Raises ``StepFailed`` where the step fails."""
        for kind, value in self._lines(step, arguments):
            if kind == "error":
                raise StepFailed(value)
            if kind == "result":
                return value
        raise AssertionError(f"the process that did {step} died")

    def kill_in_the_middle(self, step: str, *arguments: Json, at: Callable[[int, int], bool]) -> None:
        """Kill the process at the first progress that ``at`` accepts."""
        for kind, value in self._lines(step, arguments):
            if kind == "progress" and isinstance(value, list) and at(*value):  # type: ignore[arg-type]
                return
        raise AssertionError(f"{step} ended before it could be killed")

    def kill_as_soon_as(self, happened: Callable[[], bool], step: str, *arguments: Json) -> None:
        """Kill the process in the middle of a step, at the first sight of something."""
        process = self._start(step, arguments)
        try:
            while not happened():
                assert process.poll() is None, f"{step} ended before it could be killed"
                time.sleep(0.002)
        finally:
            process.kill()
            process.communicate(timeout=_TIMEOUT_S)

    def kill_qemu_in_the_middle(self, step: str, *arguments: Json, at: Callable[[int, int], bool]) -> Json:
        """Kill QEMU at the first progress that ``at`` accepts; returns how the step failed."""
        for kind, value in self._lines(step, arguments):
            if kind == "progress" and isinstance(value, list) and at(*value):  # type: ignore[arg-type]
                self.kill_qemu()
            if kind == "error":
                return value
        raise AssertionError(f"{step} ended well although QEMU was killed")

    def kill_qemu(self) -> None:
        """Kill every QEMU of this host."""
        for process in self.qemu_processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def qemu_processes(self) -> list[int]:
        """The QEMUs of this host, and the storage daemons of the service process that ran last."""
        mark = f"{embedded_root(self.state_directory)}/".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (process / "cmdline").read_bytes()
                is_machine = b"qemu-system" in command.split(b"\0")[0] and mark in command
                if is_machine or (b"storage-daemon" in command.split(b"\0")[0] and self._is_ours(process)):
                    found.append(int(process.name))
        return found

    def _is_ours(self, process: Path) -> bool:
        """Whether the service process started this one, and it lives."""
        state, parent = (process / "stat").read_text().rpartition(")")[2].split()[:2]
        return int(parent) == self._process and state != "Z"

    def _lines(self, step: str, arguments: tuple[Json, ...]) -> Iterator[tuple[str, Json]]:
        """What the process says; it is killed where nobody listens any more."""
        process = self._start(step, arguments)
        assert process.stdout is not None
        try:
            for line in process.stdout:
                [(kind, value)] = json.loads(line).items()
                yield kind, value
            process.wait(_TIMEOUT_S)
        finally:
            process.kill()
            process.wait(_TIMEOUT_S)
            process.stdout.close()

    def _start(self, step: str, arguments: tuple[Json, ...]) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.hypervisor.worker", str(self.state_directory), step]
        started = subprocess.Popen(
            [*command, json.dumps(arguments)], cwd=_ROOT, text=True, stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": f"{_ROOT}/src"},
        )  # fmt: skip
        self._process = started.pid
        return started


class StepFailed(Exception):
    """The step of a service process ended with an error of Innkeeper's."""
