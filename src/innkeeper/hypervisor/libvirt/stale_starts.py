"""Clear away what a kill has left half begun in an embedded driver, for libvirt itself never does."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import signal
import time
from pathlib import Path

import structlog

_log = structlog.get_logger(__name__)

#: libvirt writes down that it starts a machine before QEMU has a process, and its number after.
_WITHOUT_PROCESS = re.compile(rb"<domstatus [^>]*\bpid='0'")
_HEAD_BYTES = 4096
#: How long a killed process may take to be gone, in seconds.
_TIMEOUT_S = 10.0


def clear_stale_starts(root: Path) -> None:
    """Forget starts that were cut off, and end QEMUs that were only asked what they can do. Blocks.

    A start that was killed before its process was known stays a start for ever: whatever is asked of that
    machine waits half a minute and fails. Nothing of its guest has run, and a saved state is still there.
    Does nothing where the driver in ``root`` is in use.
    """
    if _is_in_use(root / "run" / "qemu" / "driver.pid"):
        return
    for status in (root / "run" / "qemu").glob("*.xml"):
        if _WITHOUT_PROCESS.search(_head(status)):
            _end(status.with_suffix(".pid"), f"guest={status.stem},")
            status.unlink()
            _log.warning("cut_off_start_forgotten", machine=status.stem)
    for question in (root / "lib" / "qemu").glob("qmp-*"):
        _end(question / "qmp.pid", f"/{question.name}/")
        shutil.rmtree(question, ignore_errors=True)


def _is_in_use(lock: Path) -> bool:
    try:
        # To close a file gives up its process's locks on it: where the driver is ours, it stays shut. The
        # number in it does not tell: in a container, each start of the service has the same.
        if f":{lock.stat().st_ino} " in Path("/proc/locks").read_text():
            return True
        with lock.open("r+") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _head(status: Path) -> bytes:
    with status.open("rb") as file:
        return file.read(_HEAD_BYTES)


def _end(pid_file: Path, mark: str) -> None:
    """Kill the process of a pid file, where it is still the one with this mark, and see that it is gone."""
    with contextlib.suppress(OSError, ValueError):
        pid = int(pid_file.read_text())
        deadline = time.monotonic() + _TIMEOUT_S
        while mark.encode() in Path(f"/proc/{pid}/cmdline").read_bytes() and time.monotonic() < deadline:
            os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
