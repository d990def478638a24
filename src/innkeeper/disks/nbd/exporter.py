"""Export one disk from a process of its own, which outlives the service that started it.

Run as ``python -m innkeeper.disks.nbd.exporter FOLDER KEY``. ``FOLDER/KEY.json`` says what to offer. The
process holds a lock on ``KEY.lock`` for as long as it lives and listens at ``KEY.nbd``. It tells on its
standard output that it is ready, or what is in the way, and writes nothing more. It ends by itself when the
last client has left, everything is flushed then, and removes ``KEY.json``: one that is there without a
process tells of a kill.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from innkeeper.disks.allowed import only_within
from innkeeper.disks.chain import Chain, open_chain
from innkeeper.disks.export_files import TAKEN, ExportFiles, ExportOrder
from innkeeper.disks.nbd.server import NbdServer
from innkeeper.disks.roots import Roots
from innkeeper.errors import DiskError

#: How long a first client is waited for, and how long a next one after the last has left.
FIRST_CLIENT_SECONDS = 60.0
NEXT_CLIENT_SECONDS = 1.0
_LOOK_SECONDS = 0.1

FAILED = 1


def main() -> int:
    """Export the disk until nobody uses it any more."""
    files = ExportFiles(Path(sys.argv[1]), sys.argv[2])
    with _locked(files) as is_ours:
        if not is_ours:
            return TAKEN
        try:
            with contextlib.closing(_opened(order := files.read())) as chain:
                _serve(files, order, chain)
        except DiskError as error:
            _tell({"code": int(error.code), "sentence": error.sentence, "advice": error.advice})
            return FAILED
        files.clear()
    return 0


def _opened(order: ExportOrder) -> Chain:
    with contextlib.ExitStack() as confined:
        if order.within:
            confined.enter_context(only_within(Roots(order.within).allowed))
        chain = open_chain(
            Path(order.path),
            writable=order.writable,
            ignore_parent_time=order.ignore_parent_time,
            # A machine's definition calls it a VHD; a person has only its name.
            is_known=not order.stays,
        )
    if order.writable:
        chain.top.keep_maps()
    return chain


def _serve(files: ExportFiles, order: ExportOrder, chain: Chain) -> None:
    files.socket.unlink(missing_ok=True)
    asked_to_end = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        asked_to_end.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with NbdServer(chain, files.socket, writable=order.writable, name=order.name) as server:
        _tell({})
        _be_quiet()
        _until_unwanted(server, asked_to_end, stays=order.stays)


def _until_unwanted(server: NbdServer, asked_to_end: threading.Event, *, stays: bool) -> None:
    """Wait until there are no clients and none is expected, or none and the end was asked for."""
    served, seen = 0, time.monotonic()
    while True:
        if server.clients or server.served != served:
            served, seen = server.served, time.monotonic()
        idle_seconds = NEXT_CLIENT_SECONDS if served else FIRST_CLIENT_SECONDS
        if not server.clients and (
            asked_to_end.is_set() or (not stays and time.monotonic() - seen > idle_seconds)
        ):
            return
        if asked_to_end.is_set():
            time.sleep(_LOOK_SECONDS)
        else:
            asked_to_end.wait(_LOOK_SECONDS)


@contextlib.contextmanager
def _locked(files: ExportFiles) -> Iterator[bool]:
    """Hold the lock, with this process's number in it."""
    with files.opened_lock() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield True


def _tell(word: dict[str, object]) -> None:
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(word).encode() + b"\n")


def _be_quiet() -> None:
    """Close the pipes to the process that started this one."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    os.close(nothing)


if __name__ == "__main__":
    sys.exit(main())
