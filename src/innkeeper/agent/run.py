"""Keep one started update in a directory, so that neither side of it needs the other alive.

The worker, a process of its own, holds the lock and appends events; the agent reads them, also after
a restart. Who holds no lock and has written no end has died.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import time
from typing import Dict, List, NamedTuple, Optional, Tuple

from innkeeper.agent import reserve
from innkeeper.agent.places import write_durably

#: How long a worker may take to begin, in seconds.
_START_S = 120
_READ_BYTES = 256 * 1024

Json = Dict[str, object]


class Request(NamedTuple):
    """What the worker is to do."""

    #: ``prepare`` before the undo point, ``update``, or ``check`` after a reboot.
    step: str
    #: Which package manager: ``apt``, ``dnf``, ``zypper`` or ``scripts``.
    backend: str
    label: str
    identifier: str
    context: bytes
    #: Which of the host's runs asked: a second one is no repetition.
    attempt: str = ""
    #: Whether sources were refreshed and packages downloaded before.
    is_prepared: bool = False
    #: Since when its preparation held locks, in seconds since 1970; 0 where there was none.
    since: float = 0.0


class Run:
    """The directory of one update's step."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.events_path = os.path.join(self.path, "events")
        #: The context as it came.
        self.context_path = os.path.join(self.path, "context")
        #: Held to the end of the process.
        self._lock: Optional[int] = None

    @classmethod
    def of(cls, runs: str, identifier: str, step: str) -> "Run":
        """The run of an update's step. The identifier is anyone's word, and no word becomes a path."""
        return cls(os.path.join(runs, hashlib.sha256(identifier.encode()).hexdigest()[:32], step))

    # The agent's side

    def prepare(self, request: Request) -> None:
        """Write down what the worker is to do; what the same identifier did before is forgotten."""
        if request.step != "check":
            forgotten = self.path if request.step == "prepare" else os.path.dirname(self.path)
            shutil.rmtree(forgotten, ignore_errors=True)
        data = request._asdict()
        del data["context"]
        write_durably(self.context_path, request.context)
        write_durably(os.path.join(self.path, "request"), json.dumps(data).encode())
        reserve.hold(self._reserve_path)

    @property
    def was_prepared(self) -> bool:
        """Whether there is something to do, or was."""
        return os.path.exists(os.path.join(self.path, "request"))

    @property
    def has_begun(self) -> bool:
        """Whether a worker has taken it up."""
        return os.path.exists(self.events_path)

    @property
    def is_overdue(self) -> bool:
        """Whether no worker has taken it up in time."""
        written = os.stat(os.path.join(self.path, "request")).st_mtime
        return not self.has_begun and abs(time.time() - written) > _START_S

    def is_held(self) -> bool:
        """Whether a worker is at it."""
        if self._take_lock():
            self._release()
            return False
        return True

    @property
    def asked_at(self) -> float:
        """When it was asked for, in seconds since 1970; 0 where it was not."""
        try:
            return os.stat(os.path.join(self.path, "request")).st_mtime
        except OSError:
            return 0.0

    @property
    def attempt(self) -> Optional[str]:
        """Which of the host's runs asked for it; ``None`` where none has."""
        return self.request().attempt if self.was_prepared else None

    def events(self, offset: int, most_bytes: int = _READ_BYTES) -> Tuple[List[Json], int]:
        """Return the whole events written since ``offset``, and the next offset."""
        try:
            with open(self.events_path, "rb") as file:
                file.seek(offset)
                data = file.read(most_bytes)
        except OSError:
            return [], offset
        whole = data[: data.rfind(b"\n") + 1]
        return [_event(line) for line in whole.splitlines()], offset + len(whole)

    def ask_to_stop(self) -> None:
        """Ask the worker to stop where that is safe."""
        with open(os.path.join(self.path, "cancel"), "w"):
            pass

    @property
    def may_have_acted(self) -> bool:
        """Whether its worker was about to change the guest."""
        return os.path.exists(self._acting_path)

    # The worker's side

    def note_acting(self) -> None:
        """Write down that the guest is about to be changed, on the disk before it is."""
        if not self.may_have_acted:
            write_durably(self._acting_path, b"")

    def take(self) -> bool:
        """Become the worker of this run; ``False`` when there is one, or was one."""
        if self.has_begun or not self._take_lock():
            return False
        with open(self.events_path, "a"):
            return True

    def request(self) -> Request:
        """Read what is to be done."""
        with open(self.context_path, "rb") as context:
            with open(os.path.join(self.path, "request"), encoding="utf-8") as rest:
                return Request(context=context.read(), **json.load(rest))

    def write(self, event: Json) -> None:
        """Append an event."""
        line = json.dumps(event).encode() + b"\n"

        def append() -> None:
            with open(self.events_path, "ab", buffering=0) as file:
                begun = file.tell()
                if file.write(line) < len(line):
                    file.truncate(begun)  # half a line is none
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.events_path)

        reserve.write_into(self._reserve_path, append)

    def keep_disturbed(self, names: List[str]) -> None:
        """Write down which jobs have failed for the update's lock; on a full disk they are not told."""
        if names:
            with contextlib.suppress(OSError):
                write_durably(self._disturbed_path, json.dumps(names).encode())

    def disturbed(self) -> str:
        """Return what was written of them."""
        try:
            with open(self._disturbed_path, encoding="utf-8") as file:
                return file.read()
        except (OSError, ValueError):
            return ""

    def may_start_disturbed(self) -> bool:
        """Whether nobody has started them yet; they count as started from now on."""
        mark = self._disturbed_path + ".started"
        if os.path.exists(mark):
            return False
        try:
            write_durably(mark, b"")
        except OSError:  # a full disk: they run again at their time
            return False
        return True

    def keep_stopped(self, timers: List[str]) -> None:
        """Write down which timers are about to be stopped, on the disk before they are."""
        write_durably(self._stopped_path, json.dumps(timers).encode())

    def take_stopped(self) -> List[str]:
        """Return them, once."""
        try:
            with open(self._stopped_path, encoding="utf-8") as file:
                timers = [str(timer) for timer in json.load(file)]
            os.remove(self._stopped_path)
        except (OSError, ValueError):
            return []
        return timers

    def keep_complaints(self, complaints: List[str]) -> None:
        """Write down what was wrong with the package database before the update."""
        write_durably(self._complaints_path, json.dumps(complaints).encode())

    def complaints(self) -> List[str]:
        """Return what was wrong with it before, also for the step after a reboot."""
        try:
            with open(self._complaints_path, encoding="utf-8") as file:
                return [str(complaint) for complaint in json.load(file)]
        except (OSError, ValueError):
            return []

    @property
    def _reserve_path(self) -> str:
        return os.path.join(self.path, "reserve")

    @property
    def _disturbed_path(self) -> str:
        return os.path.join(self.path, "disturbed")

    @property
    def _acting_path(self) -> str:
        return os.path.join(self.path, "acting")

    @property
    def _stopped_path(self) -> str:
        return os.path.join(self.path, "stopped")

    @property
    def _complaints_path(self) -> str:
        return os.path.join(os.path.dirname(self.path), "complaints")

    @property
    def must_stop(self) -> bool:
        """Whether the worker is asked to stop."""
        return os.path.exists(os.path.join(self.path, "cancel"))

    def _take_lock(self) -> bool:
        lock = os.open(os.path.join(self.path, "lock"), os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    def _release(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class NoRun(Run):
    """Nobody's run: what is reported of it goes nowhere."""

    def __init__(self) -> None:
        super().__init__(os.devnull)

    def write(self, event: Json) -> None:
        """Forget the event."""

    def note_acting(self) -> None:
        """Forget it."""


def _event(line: bytes) -> Json:
    try:
        event = json.loads(line.decode("utf-8", "replace"))
    except ValueError:
        event = {}
    return event if isinstance(event, dict) else {}
