"""Find out whether guests really run with KVM here, and remember the answer.

``/dev/kvm`` can open, run some code, and still hang or end every guest (nested virtualisation that is half
there), so a real QEMU boots a kernel, with a time-out. All that starts QEMU goes by this one answer.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import platform
import shutil
import stat
import subprocess
from pathlib import Path

import structlog

from innkeeper.hypervisor.libvirt import boot_trial
from innkeeper.hypervisor.libvirt.boot_trial import PROBE_KERNEL, TrialKernel, qemu_processor, why_not
from innkeeper.machines.host_facts import Acceleration, Accelerator

_log = structlog.get_logger(__name__)

#: What machines are; no other processor carries them with KVM.
_ARCHITECTURE = "x86_64"
_QEMU = f"qemu-system-{_ARCHITECTURE}"
_DEVICE = Path("/dev/kvm")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_VERSION_TIMEOUT_S = 10.0
_WORKS = "A guest kernel started on it."


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class _Remembered:
    """An answer, and what it is true for."""

    answer: Acceleration
    found_with: str


def acceleration(state_directory: Path, kernel: Path | None = None) -> Acceleration:
    """The remembered answer, or a fresh one where rights, QEMU or the kernel have changed. Blocking.

    ``kernel`` is a real Linux kernel on disk: KVM must then start that too.
    """
    found_with = circumstances(kernel)
    memory = _memory(state_directory, kernel)
    remembered = _read(memory)
    if remembered is not None and remembered.found_with == found_with:
        return remembered.answer
    fresh = probe("kvm", kernel)
    _write(memory, _Remembered(answer=fresh, found_with=found_with))
    _log.info("acceleration_probed", accelerator=fresh.accelerator, reason=fresh.reason)
    return fresh


def remember_failure(state_directory: Path, words: str) -> Acceleration:
    """Remember that a machine's start died of KVM, until the circumstances change. Blocking."""
    answer = Acceleration(
        accelerator=Accelerator.TCG, reason=f"/dev/kvm opens, but a machine's start died of it: {words}"
    )
    _write(_memory(state_directory), _Remembered(answer=answer, found_with=circumstances()))
    return answer


def probe(accelerator: str, kernel: Path | None = None) -> Acceleration:
    """Boot a kernel with ``accelerator`` (``kvm``; ``tcg`` always works). Blocking."""
    reason = _why_not(accelerator, [PROBE_KERNEL, *([boot_trial.linux(kernel)] if kernel else [])])
    works = reason == ""
    return Acceleration(
        accelerator=Accelerator.KVM if works and accelerator == "kvm" else Accelerator.TCG,
        reason=reason or _WORKS,
    )


def qemu_arguments(answer: Acceleration, software_processor: str = "") -> list[str]:
    """The accelerator and the processor for a QEMU that is started without libvirt.

    ``software_processor`` is the one to emulate where KVM does not work; all that QEMU can by default.
    """
    accelerator = answer.accelerator
    is_software = accelerator is not Accelerator.KVM
    return [
        "-accel",
        accelerator,
        "-cpu",
        (is_software and software_processor) or qemu_processor(accelerator),
    ]


def circumstances(kernel: Path | None = None) -> str:
    """Circumstances of an answer: rights on the device, QEMU, and the computer's running kernel. Blocking."""
    running = platform.uname()
    parts = [
        _rights(),
        _qemu(),
        f"{running.system} {running.release} {running.version} {running.machine}, boot {_boot_id()}",
    ]
    return "; ".join([*parts, f"tried with {kernel}"] if kernel else parts)


def _why_not(accelerator: str, kernels: list[TrialKernel]) -> str:
    """Return why no guest runs with KVM, or an empty string."""
    qemu = shutil.which(_QEMU)
    if qemu is None:
        return f"{_QEMU} is not installed."
    if accelerator == "kvm" and (closed := _why_closed()):
        return closed
    for kernel in kernels:
        if why := why_not(qemu, accelerator, kernel, boot_trial.TIMEOUT_S):
            opens = "/dev/kvm opens, but a guest kernel does not start on it"
            return f"{opens if accelerator == 'kvm' else f'No guest starts with {accelerator}'}: {why}."
    return ""


def _why_closed() -> str:
    if platform.machine() != _ARCHITECTURE:
        return f"Machines are {_ARCHITECTURE}, and this computer is {platform.machine()}."
    if not _DEVICE.exists():
        return f"{_DEVICE} is not there."
    if not _opens():
        return f"{_DEVICE} is there, but this user may not use it ({_rights()})."
    return ""


def _opens() -> bool:
    return os.access(_DEVICE, os.R_OK | os.W_OK)


def _rights() -> str:
    try:
        about = _DEVICE.stat()
    except OSError:
        return f"no {_DEVICE}"
    access = "open" if _opens() else "closed"
    return f"{_DEVICE} {access}, {stat.filemode(about.st_mode)} {about.st_uid}:{about.st_gid}"


def _qemu() -> str:
    path = shutil.which(_QEMU)
    if path is None:
        return f"no {_QEMU}"
    about = Path(path).stat()
    return f"{path} {_version(path, about.st_mtime_ns, about.st_size)} {about.st_mtime_ns}"


@functools.lru_cache(maxsize=8)
def _version(path: str, _mtime_ns: int, _size_bytes: int) -> str:
    """The first line of ``--version``; asked once for each file."""
    try:
        done = subprocess.run(
            [path, "--version"],
            capture_output=True,
            text=True,
            timeout=_VERSION_TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "of unknown version"
    return done.stdout.partition("\n")[0].strip() or "of unknown version"


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return "unknown"


def _memory(state_directory: Path, kernel: Path | None = None) -> Path:
    kind = f"-{kernel.parent.name}-{kernel.name}" if kernel else ""
    return state_directory / f"acceleration{kind}.json"


def _read(memory: Path) -> _Remembered | None:
    try:
        kept = json.loads(memory.read_text())
        answer = Acceleration(accelerator=Accelerator(kept["accelerator"]), reason=str(kept["reason"]))
        return _Remembered(answer=answer, found_with=str(kept["found_with"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(memory: Path, remembered: _Remembered) -> None:
    memory.parent.mkdir(parents=True, exist_ok=True)
    making = memory.with_suffix(f".{os.getpid()}")
    kept = {**dataclasses.asdict(remembered.answer), "found_with": remembered.found_with}
    making.write_text(json.dumps(kept, indent=1))
    making.replace(memory)
