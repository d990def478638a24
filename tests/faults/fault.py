"""One fault, what is promised where it comes, and how that is tried."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections.abc import Callable

#: A trial that takes longer is stuck, which breaks any promise.
_TRIAL_SECONDS = 600


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What came of a trial."""

    #: ``None`` where it could not be tried here.
    holds: bool | None
    words: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """Something that fails around the service."""

    name: str
    #: In a sentence.
    promise: str
    trial: Callable[[], Seen]
    #: The tests that are run for it; none where the trial is one of its own.
    tests: tuple[str, ...] = ()


def by_tests(name: str, promise: str, *tests: str) -> Fault:
    """Try it by tests of the suite."""

    def trial() -> Seen:
        told = _output([sys.executable, "-m", "pytest", "-q", "-rs", "--tb=short", *tests])
        counts = re.findall(
            r"(\d+) (passed|failed|skipped|errors?)", told.stdout.rpartition("\n=")[2] or told.stdout
        )
        words = ", ".join(f"{number} tests {what}" for number, what in counts)
        if told.returncode == 0 and not any(what == "passed" for _, what in counts):
            return Seen(holds=None, words=f"{words or 'no test ran'}: what it needs is not on this computer")
        return Seen(holds=told.returncode == 0, words=words or _last_line(told))

    return Fault(name=name, promise=promise, trial=trial, tests=tests)


def by_program(name: str, promise: str, *arguments: str) -> Fault:
    """Try it by a program that ends with 0 where the promise held; its last line is told."""

    def trial() -> Seen:
        told = _output([sys.executable, "-m", *arguments])
        return Seen(holds=told.returncode == 0, words=_last_line(told))

    return Fault(name=name, promise=promise, trial=trial)


def _output(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TRIAL_SECONDS)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"stuck for {_TRIAL_SECONDS} s")


def _last_line(told: subprocess.CompletedProcess[str]) -> str:
    lines = (told.stdout + told.stderr).strip().splitlines()
    return lines[-1][:200] if lines else f"ended with {told.returncode}"
