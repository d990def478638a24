"""Boot a kernel in QEMU until its first sign of life, to find out whether an accelerator carries guests.

The kernel is the probe's own (``probe_kernel.s``), or a real one. Machine type and processor are those that
new machines get.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import selectors
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from innkeeper.hypervisor.domain.template import MACHINE_TYPE

#: A kernel that starts does so within a second, in software too; a busy computer is given time.
TIMEOUT_S = 30.0
_MEMORY_MIB = 256
_CHUNK_BYTES = 4096
_MOST_BYTES = 256 * 1024
#: QEMU says so when KVM cannot go on with a guest, and then waits for ever.
_GAVE_UP = b"KVM internal error"
_QUOTED_CHARS = 200


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TrialKernel:
    """A kernel to boot, and how it shows that it runs."""

    path: Path
    #: What is written to the serial port once it runs.
    sign: bytes
    command_line: str = ""


#: Goes through paging, long mode, timer interrupts and user mode, and says then that it has come so far.
PROBE_KERNEL = TrialKernel(path=Path(__file__).with_name("probe_kernel.bin"), sign=b"user mode\n")


def linux(path: Path) -> TrialKernel:
    """A Linux kernel on disk."""
    # Without a system it gives up in the end; it has said its name long before.
    return TrialKernel(
        path=path, sign=b"Linux version", command_line="console=ttyS0 earlyprintk=serial panic=-1"
    )


def qemu_processor(accelerator: str) -> str:
    """The processor that machines get with an accelerator, as QEMU's ``-cpu`` names it."""
    return "host" if accelerator == "kvm" else "max"


def why_not(qemu: str, accelerator: str, kernel: TrialKernel, timeout_s: float = TIMEOUT_S) -> str:
    """Why the kernel does not start with ``accelerator``, or empty where it does. Blocking."""
    with _running(_command(qemu, accelerator, kernel)) as process:
        output = _listen(process, kernel.sign, time.monotonic() + timeout_s)
        if kernel.sign in output:
            return ""
        words = output.decode(errors="replace")
        if _GAVE_UP in output:
            return f"{_line_with(words, _GAVE_UP.decode())} {_after(words.partition(_GAVE_UP.decode())[0])}"
        if process.poll() is None:
            return f"nothing more came in {timeout_s:g} s {_after(words)}"
        return f"QEMU ended with {process.returncode}: {_last_line(words) or 'it printed nothing'}"


def _command(qemu: str, accelerator: str, kernel: TrialKernel) -> list[str]:
    command = [qemu, "-accel", accelerator, "-machine", MACHINE_TYPE, "-cpu", qemu_processor(accelerator),
               "-m", str(_MEMORY_MIB), "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
               "-serial", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
               "-kernel", str(kernel.path)]  # fmt: skip
    return [*command, "-append", kernel.command_line] if kernel.command_line else command


@contextlib.contextmanager
def _running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _listen(process: subprocess.Popen[bytes], sign: bytes, deadline: float) -> bytes:
    """The output of guest and QEMU until the sign comes, QEMU ends or gives up, or the time is over."""
    assert process.stdout is not None
    output = b""
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdout, selectors.EVENT_READ)
        while sign not in output and _GAVE_UP not in output and len(output) < _MOST_BYTES:
            left = deadline - time.monotonic()
            if left <= 0 or not ready.select(left):
                break
            chunk = os.read(process.stdout.fileno(), _CHUNK_BYTES)
            if not chunk:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(deadline - time.monotonic(), 0))
                break
            output += chunk
    return output


def _after(words: str) -> str:
    last = _last_line(words)
    return f"after {last!r}" if last else "after the firmware began"


def _last_line(words: str) -> str:
    lines = [line for line in map(_printable, words.splitlines()) if line]
    return lines[-1] if lines else ""


def _line_with(words: str, part: str) -> str:
    return _printable(next(line for line in words.splitlines() if part in line))


def _printable(line: str) -> str:
    return "".join(each for each in line.strip() if each.isprintable())[:_QUOTED_CHARS]
