"""Turns of several services at one simulated host, and a record of those who act where they must not."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import mmap
import os
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from innkeeper.errors import ErrorCode, HypervisorError
from innkeeper.hypervisor.simulated import disks as fake_disks
from innkeeper.servers.fence import Fence
from innkeeper.wire.events import Json

#: A turn takes less than a millisecond. Whoever has it for so long was stopped in it, and loses it.
_PATIENCE_SECONDS = 2.0
_POLL_SECONDS = 0.001
_COUNT_BYTES = 8


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Actor:
    """A service that acts on simulated hosts."""

    #: The server's name.
    server: str = ""
    #: Write down every start, stop, merge and update, not overlaps alone.
    keeps_ledger: bool = False


class Turns:
    """Lets services act on one simulated host one after the other, each on what the last one left.

    The host does what it is told, as a real one would: who acts although another service does is not
    refused, but written to ``overlaps.jsonl``.
    """

    def __init__(self, directory: Path, actor: Actor, fence: Fence) -> None:
        """``fence`` knows the epoch of the lease by which this service acts."""
        self._directory = directory
        self._actor = actor
        self._fence = fence
        self._token = secrets.token_hex(4)
        self._within = threading.Lock()
        self._file: int | None = None
        self._count: mmap.mmap | None = None
        #: How often the host had been changed when this service looked last.
        self._seen = -1
        #: The epoch with which this service acted last; ``None`` until it has.
        self._held: int | None = None

    def open(self) -> None:
        """Open the file whose lock is the turn."""
        if self._file is not None:
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._directory / "turn", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if os.fstat(self._file).st_size < _COUNT_BYTES:
            os.ftruncate(self._file, _COUNT_BYTES)
        self._count = mmap.mmap(self._file, _COUNT_BYTES)

    def close(self) -> None:
        """Give the host up, where this service acted on it last."""
        with self._within:
            if self._file is None:
                return
            if self._held is not None and _holder(self._holder_file).get("token") == self._token:
                self._holder_file.unlink(missing_ok=True)
            self._let_go()

    def abandon(self) -> None:
        """Close the files as the end of a killed process does; the next turn opens them again."""
        with self._within:
            self._let_go()

    def _let_go(self) -> None:
        if self._file is None or self._count is None:
            return
        self._count.close()
        os.close(self._file)
        self._file = self._count = None

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Keep other services, and other threads of this one, from the host."""
        with self._within:
            self.open()
            assert self._file is not None
            got = _lock(self._file)
            try:
                yield
            finally:
                if got:
                    fcntl.flock(self._file, fcntl.LOCK_UN)

    @property
    def is_stale(self) -> bool:
        """Whether another service has changed the host since this one looked."""
        return self._count is not None and self._changes() != self._seen

    def looked(self) -> None:
        """This service has read the host as it is now."""
        self._seen = self._changes()

    def changing(self, host: str) -> None:
        """This service is about to write. Raises ``HypervisorError`` where its turn is long over."""
        if self._count is None:
            return
        if self.is_stale:
            raise HypervisorError(
                f"The host {host} was changed by another server while this one was stopped.",
                code=ErrorCode.ERROR_ONLY_IF_CONNECTED,
                advice="Look at the machine, and try again.",
            )
        self._seen += 1
        self._count[:_COUNT_BYTES] = self._seen.to_bytes(_COUNT_BYTES, "little")

    def acting(self, host: str, machine: str, doing: str, at: float, *, was_mine: bool) -> None:
        """This service does something to a machine: told where another one holds the host."""
        epoch = self._fence.epoch
        if not was_mine:
            self._take_hold(machine, doing, at, epoch)
            self.changing(host)
        if self._actor.keeps_ledger and doing:
            self._write("ledger.jsonl", {**self._me(epoch), "machine": machine, "doing": doing, "at": at})

    @property
    def may_have_been_taken(self) -> bool:
        """Whether somebody else may hold the host by now."""
        return self._held is None or self._held != self._fence.epoch or self.is_stale

    def _take_hold(self, machine: str, doing: str, at: float, epoch: int) -> None:
        holder = _holder(self._holder_file)
        why = self._overlap(holder, epoch)
        me = self._me(epoch)
        if why:
            told = {**me, "why": why, "machine": machine, "doing": doing, "at": at, "holder": holder}
            self._write("overlaps.jsonl", told)
        if why != _STALE:
            fake_disks.replace_file(str(self._holder_file), json.dumps(me).encode())
        self._held = epoch

    def _overlap(self, holder: Mapping[str, Json], epoch: int) -> str:
        """Why this service must not act now; empty where it may."""
        if not holder or holder["token"] == self._token:
            return ""
        theirs = int(str(holder["epoch"]))
        if epoch and theirs and epoch != theirs:
            return _STALE if epoch < theirs else ""
        return "another server acts on the host" if _is_alive(holder) else ""

    def _me(self, epoch: int) -> dict[str, Json]:
        pid = os.getpid()
        return {
            "server": self._actor.server,
            "token": self._token,
            "epoch": epoch,
            "pid": pid,
            "began": _began(pid),
        }

    @property
    def _holder_file(self) -> Path:
        return self._directory / "holder.json"

    def _write(self, name: str, told: Mapping[str, Json]) -> None:
        with (self._directory / name).open("a") as file:
            file.write(json.dumps(told) + "\n")

    def _changes(self) -> int:
        return int.from_bytes(self._count[:_COUNT_BYTES], "little") if self._count is not None else -1


_STALE = "its lease is older than the one by which another server has acted"


def _lock(file: int) -> bool:
    """Lock the file; false where whoever has it does not give it up."""
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up:
                return False
            time.sleep(_POLL_SECONDS)
        else:
            return True


def _holder(file: Path) -> dict[str, Json]:
    with contextlib.suppress(FileNotFoundError):
        found = json.loads(file.read_bytes())
        return found if isinstance(found, dict) else {}
    return {}


def _is_alive(holder: Mapping[str, Json]) -> bool:
    """Whether the process still runs: the same one, and no later one of its number."""
    return _began(int(str(holder["pid"]))) == holder["began"]


def _began(pid: int) -> str:
    """When a process was started, in the kernel's count; empty where it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
