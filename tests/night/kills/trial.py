"""One trial: something is done and cut short by kills at random, taken up again, and judged."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path


@dataclasses.dataclass(kw_only=True)
class Outcome:
    """What became of a trial."""

    #: Where the data lay.
    storage: str = ""
    #: How it ended: ``kept``, ``rolled back``, ``merged``…
    ended: str = ""
    #: Each kill and failure that took place: of the service, of QEMU, of a full disk…
    kills: list[str] = dataclasses.field(default_factory=list)
    #: Whatever is not as it should be.
    faults: list[str] = dataclasses.field(default_factory=list)


Trial = Callable[[random.Random, Path], Outcome]

#: A process that takes longer is stuck.
LIFE_SECONDS = 120.0


class Life:
    """A service process, forked from this one, that does some work and may be killed."""

    def __init__(self, work: Callable[[], None], log: Path) -> None:
        sys.stdout.flush()
        self.process = os.fork()
        self._deadline = time.monotonic() + LIFE_SECONDS
        self._status: int | None = None
        if not self.process:
            _live(work, log)

    def goes_on(self) -> bool:
        """Whether it lives. One that is stuck is killed, which ``end`` tells."""
        if self._status is None and time.monotonic() > self._deadline:
            self.kill()
        if self._status is None:
            done, status = os.waitpid(self.process, os.WNOHANG)
            self._status = status if done else None
        return self._status is None

    def kill(self) -> bool:
        """End it as a crash would; says whether it lived."""
        with suppress(ProcessLookupError):
            os.kill(self.process, signal.SIGKILL)
            return True
        return False

    def wait(self) -> None:
        """Wait until it has ended."""
        while self.goes_on():
            time.sleep(0.005)

    @property
    def was_killed(self) -> bool:
        """Whether it died of a signal."""
        return self._status is not None and os.WIFSIGNALED(self._status)

    @property
    def went_well(self) -> bool:
        """Whether it came to its end without an error."""
        return self._status == 0


def _live(work: Callable[[], None], log: Path) -> None:
    """Do the work and end, never returning to what the parent was about to do."""
    code = 1
    try:
        with log.open("ab", buffering=0) as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        work()
        code = 0
    except BaseException:
        with log.open("a") as text:
            traceback.print_exc(file=text)
    finally:
        os._exit(code)


def processes(place: Path, *programs: str) -> Iterator[int]:
    """The running programs of these names that have something of this place in their command line."""
    mark = f"{place}/".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (process / "cmdline").read_bytes()
            name = command.split(b"\0")[0].rpartition(b"/")[2].decode(errors="replace")
            if mark in command and any(name.startswith(each) for each in programs):
                yield int(process.name)


def children(process: int, *programs: str) -> Iterator[int]:
    """The programs of these names that a process has started."""
    for file in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):
            for child in file.read_text().split():
                name = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")[0].rpartition(b"/")[2]
                if any(name.startswith(each.encode()) for each in programs):
                    yield int(child)


def kill_processes(place: Path, *programs: str) -> bool:
    """Kill -9 them; says whether there were any."""
    return kill_all(processes(place, *programs))


def kill_all(found: Iterable[int]) -> bool:
    """Kill -9 these processes; says whether there were any."""
    killed = False
    for process in found:
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
            killed = True
    return killed


def digest(path: Path) -> str:
    """The content of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
