"""Run QEMU's programs on images that may be hostile: with limits, and never longer than this process.

The one place in which ``qemu-img`` and its kin are started. Each runs in a process group of its own, is
killed by the kernel with this process, has a limit of processor time, of memory and of time, and reaches what
its caller names and nothing else (``confined``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import resource
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from innkeeper.disks.confined.child import running
from innkeeper.disks.confined.reach import Reach
from innkeeper.disks.progress import UNWATCHED, Cancelled, Watch
from innkeeper.errors import DiskError, ErrorCode, NotSupported

IMAGE, IO, DAEMON = "qemu-img", "qemu-io", "qemu-storage-daemon"
_PACKAGES = {IMAGE: "qemu-utils", IO: "qemu-utils", DAEMON: "qemu-system-common"}

_NOTHING = subprocess.DEVNULL

LOOK_SECONDS = 0.2
#: How long a cancelled program has to clean up after itself.
GRACE_SECONDS = 5
#: What is kept of what a program prints.
MOST_OUTPUT = 4 << 20

_CODES = (
    ("no space left", ErrorCode.ERROR_DISK_FULL),
    (" lock", ErrorCode.ERROR_SHARING_VIOLATION),
    ("no such file", ErrorCode.ERROR_FILE_NOT_FOUND),
    ("permission denied", ErrorCode.E_ACCESSDENIED),
    ("read-only file system", ErrorCode.VM_E_FILE_READ_ONLY),
    ("not in", ErrorCode.VM_E_INVALID_HD_FILE),
    ("invalid", ErrorCode.VM_E_INVALID_HD_FILE),
    ("corrupt", ErrorCode.VM_E_INVALID_HD_FILE),
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """The resources of the host that a program may use."""

    cpu_seconds: int
    #: Of addresses, of which a program takes more than of memory.
    memory_bytes: int
    seconds: float

    @classmethod
    def for_bytes(cls, size_bytes: int) -> Limits:
        """Return limits for moving this many bytes: slow storage has time, endless work is ended."""
        return cls(
            cpu_seconds=600 + size_bytes // (8 << 20),
            memory_bytes=4 << 30,
            seconds=3600 + size_bytes / (1 << 20),
        )


#: For a look at a header.
LOOK = Limits(cpu_seconds=30, memory_bytes=1 << 30, seconds=60)


def run(
    program: str,
    arguments: Sequence[str],
    path: Path,
    limits: Limits,
    *,
    reach: Reach,
    files: Sequence[int] = (),
    watch: Watch = UNWATCHED,
    on_output: Callable[[bytes], None] = lambda _data: None,
) -> bytes:
    """Run a program to its end; returns its output. A cancel, or any exception, ends it first.

    ``path`` is the image for the sentence of an error, ``reach`` what the program may open, and ``files`` are
    descriptors that it gets.
    """
    with started(program, arguments, limits, reach=reach, files=files) as process:
        printed, errors = _followed(process, path, limits, watch, on_output)
    if process.returncode:
        raise failed(program, path, process.returncode, errors)
    return printed


@contextlib.contextmanager
def started(
    program: str,
    arguments: Sequence[str],
    limits: Limits,
    *,
    reach: Reach,
    files: Sequence[int] = (),
    stdin: int = _NOTHING,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program with its limits of resources; at the end of the block it has ended.

    An exception in the block ends it, and so does, by the kernel, the end of this process.
    """
    with running(
        [_found(program), *arguments],
        reach,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=files,
        process_group=0,
        env=os.environ | {"LC_ALL": "C", "MALLOC_ARENA_MAX": "4"},
    ) as process:
        try:
            _limit(process.pid, limits)
            yield process
            process.wait()
        except BaseException:
            _stop(process)
            raise


def _limit(process: int, limits: Limits) -> None:
    """Set the limits; a program that has ended already needs none."""
    with contextlib.suppress(ProcessLookupError):
        for kind, value in (
            (resource.RLIMIT_CPU, limits.cpu_seconds),
            (resource.RLIMIT_AS, limits.memory_bytes),
            (resource.RLIMIT_CORE, 0),
        ):
            most = resource.prlimit(process, kind)[1]
            value = value if most == resource.RLIM_INFINITY else min(value, most)
            resource.prlimit(process, kind, (value, value))


def _followed(
    process: subprocess.Popen[bytes],
    path: Path,
    limits: Limits,
    watch: Watch,
    on_output: Callable[[bytes], None],
) -> tuple[bytes, bytes]:
    """Read the program's output until it closes its streams; raises where it is cancelled or late."""
    assert process.stdout is not None
    assert process.stderr is not None
    output, errors = process.stdout.fileno(), process.stderr.fileno()
    printed = {output: b"", errors: b""}
    waiting, end = set(printed), time.monotonic() + limits.seconds
    while waiting:
        if watch.cancel_requested():
            raise Cancelled("The operation was cancelled.", path=str(path))
        if time.monotonic() > end:
            raise too_long(path, limits)
        for stream in select.select(list(waiting), [], [], LOOK_SECONDS)[0]:
            data = os.read(stream, 65536)
            if not data:
                waiting.discard(stream)
            printed[stream] = (printed[stream] + data)[-MOST_OUTPUT:]
        on_output(printed[output])
    return printed[output], printed[errors]


def _stop(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
            return


def _found(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise NotSupported(
            f"{program} is not installed, and this format needs it.",
            advice=f"Install it: apt-get install {_PACKAGES[program]}",
        )
    return found


def code_of(words: str) -> ErrorCode:
    """The documented identifier for what a program says is wrong."""
    return next((code for word, code in _CODES if word in words.lower()), ErrorCode.VM_E_HD_IMAGE_ACCESS)


def failed(program: str, path: Path, status: int, errors: bytes) -> DiskError:
    """The error for a program that ended with this status and these words."""
    if status in {-signal.SIGXCPU, -signal.SIGKILL}:
        return DiskError(
            f"{path}: {program} needed more memory or time than an image of this size should, and was ended.",
            path=str(path),
            code=ErrorCode.VM_E_OUT_OF_RESOURCE,
            advice="The image may be damaged or malicious.",
        )
    lines = errors.decode("utf-8", "replace").strip().splitlines()
    text = (
        lines[-1].removeprefix(f"{program}: ").rstrip(".") if lines else f"{program} failed without a message"
    )
    return DiskError(f"{path}: {text}.", path=str(path), code=code_of(text))


def too_long(path: Path, limits: Limits) -> DiskError:
    """The error for a program that was ended for want of time."""
    return DiskError(
        f"{path}: it took longer than {limits.seconds:,.0f} seconds, and was ended.",
        path=str(path),
        code=ErrorCode.ERROR_TIMEOUT,
        advice="Check that the storage responds, and try again.",
    )
