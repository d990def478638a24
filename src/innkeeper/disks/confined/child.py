"""Start a program in confinement: the one way in which whatever reads an image of a guest's is started.

The kernel confines threads, and what a thread starts is confined like it. So a thread is made for each
program, gives up what the program is not to have, and starts it: nothing of ours runs between fork and exec,
and no other thread of the service notices.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import structlog

from innkeeper.disks.confined import landlock, privileges, seccomp
from innkeeper.disks.confined.reach import Reach

_log = structlog.get_logger(__name__)


def shortcomings() -> Sequence[str]:
    """What this computer lacks of the confinement, each in a sentence with what to do; mostly none."""
    lacking = []
    if not landlock.version():
        lacking.append(
            "The kernel has no Landlock: programs that read images can open every file that the service can. "
            "It is there from Linux 5.13 on, where the kernel's parameter lsm= does not leave it out."
        )
    if not seccomp.kernel_filters():
        lacking.append("The kernel has no seccomp filters: programs that read images may make any call.")
    elif seccomp.filter_for(Reach().sockets) is None:
        lacking.append(
            "libseccomp is not installed: programs that read images may make any call. "
            "Install it: apt-get install libseccomp2"
        )
    return tuple(lacking)


@contextlib.contextmanager
def running(command: Sequence[str], reach: Reach, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program that the kernel kills with this process; the block is to see that it ends.

    ``options`` are those of ``subprocess.Popen``.
    """
    over = threading.Event()
    try:
        # The kernel kills it with the thread that has started it, which therefore stays.
        with _start([*_dying_with_us(), *command], Path(command[0]), reach, over, options) as process:
            yield process
    finally:
        over.set()


def start(command: Sequence[str], reach: Reach, **options: Any) -> subprocess.Popen[bytes]:
    """Start a program that may outlive this process. Raises ``OSError`` as ``Popen`` does."""
    return _start(command, Path(command[0]), reach, None, options)


def _start(
    command: Sequence[str],
    program: Path,
    reach: Reach,
    until: threading.Event | None,
    options: Mapping[str, Any],
) -> subprocess.Popen[bytes]:
    """Start it by a thread that lives until the event."""
    confinement = _Confinement(reach, program)
    begun: Future[subprocess.Popen[bytes]] = Future()

    def begin() -> None:
        try:
            confinement.enter()
            process = subprocess.Popen(command, **options)
        except BaseException as error:  # it is for who asked
            begun.set_exception(error)
            return
        begun.set_result(process)
        if until is not None:
            until.wait()

    try:
        threading.Thread(target=begin, name="innkeeper-confined", daemon=True).start()
        return begun.result()
    finally:
        confinement.close()


class _Confinement:
    """All that a thread gives up: made before, since a thread that is confined opens nothing more."""

    def __init__(self, reach: Reach, program: Path) -> None:
        _say_what_is_missing()
        self._rules = landlock.Ruleset(reach, program) if landlock.version() else None
        self._filter = seccomp.filter_for(reach.sockets) if seccomp.kernel_filters() else None

    def enter(self) -> None:
        """Give it up, for good. Raises ``OSError``."""
        privileges.give_up()
        if self._rules is not None:
            self._rules.enter()
        if self._filter is not None:
            self._filter.enter()

    def close(self) -> None:
        if self._rules is not None:
            self._rules.close()


_said = threading.Lock()


def _say_what_is_missing() -> None:
    if _said.acquire(blocking=False):  # once, and never released
        for sentence in shortcomings():
            _log.warning("confinement.partial", missing=sentence)


def _dying_with_us() -> list[str]:
    """Return a set-up by which the kernel kills the program with the thread that started it."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv is not None else []
