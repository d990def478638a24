"""Run ``qemu-img``, for the formats that are QEMU's own. The one place that does.

An image is never opened by guess, and never with what it names in other files: a backing file in a hostile
image could be any file of the host.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import select
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from innkeeper.disks.draft import SUFFIX
from innkeeper.disks.kind import Kind
from innkeeper.disks.oserror import adapted
from innkeeper.disks.paths import already_there, sync_folder
from innkeeper.disks.progress import Cancelled, Watch
from innkeeper.errors import DiskError, ErrorCode, NotSupported

PROGRAM = "qemu-img"
LOOK_SECONDS = 0.2
#: How long a cancelled program has to clean up after itself.
GRACE_SECONDS = 5

#: What a VMDK that holds its own data begins with.
_SPARSE_VMDK = b"KDMV"

_PERCENT = re.compile(rb"\((\d+(?:\.\d+)?)/100%\)")
_CODES = (
    ("no space left", ErrorCode.ERROR_DISK_FULL),
    ("lock", ErrorCode.ERROR_SHARING_VIOLATION),
    ("no such file", ErrorCode.ERROR_FILE_NOT_FOUND),
    ("permission denied", ErrorCode.E_ACCESSDENIED),
    ("not in", ErrorCode.VM_E_INVALID_HD_FILE),
    ("invalid", ErrorCode.VM_E_INVALID_HD_FILE),
    ("corrupt", ErrorCode.VM_E_INVALID_HD_FILE),
)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What ``qemu-img`` says of an image."""

    virtual_size: int
    #: 0 where it has none.
    cluster_bytes: int
    #: The file it stands on, as it names it.
    backing: Path | None
    #: Whether its content is completed by other files that it names.
    needs_other_files: bool


def look(path: Path, kind: Kind) -> Look:
    """Ask about one image, opening no other file that it names."""
    command = [_program(), "info", "-U", "--output=json", "-f", kind.value, _name(path)]
    if kind is Kind.VMDK:
        _refuse_description(path)
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    if done.returncode:
        raise _failed(path, done.stderr)
    try:
        facts = json.loads(done.stdout)
        return Look(
            virtual_size=int(facts["virtual-size"]),
            cluster_bytes=int(facts.get("cluster-size") or 0),
            backing=_backing(path, facts.get("full-backing-filename") or facts.get("backing-filename")),
            needs_other_files=_needs_other_files(facts),
        )
    except (ValueError, KeyError, TypeError) as exc:
        raise _failed(path, b"qemu-img said something unexpected") from exc


def virtual_size(path: Path, kind: Kind) -> int:
    """Ask for the size of the disk in an image; refuses one that leads to other files."""
    message = look(path, kind)
    if message.needs_other_files:
        raise _other_files(path)
    return message.virtual_size


def convert(source: Path, source_kind: Kind, target: Path, kind: Kind, *, watch: Watch) -> Path:
    """Convert between formats of QEMU's own."""
    size = virtual_size(source, source_kind)
    return _to_new_file(["-f", source_kind.value, _name(source)], size, target, kind, watch)


def convert_url(url: str, size: int, target: Path, kind: Kind, *, watch: Watch) -> Path:
    """Convert what an NBD export offers into a format of QEMU's own."""
    return _to_new_file(["-f", "raw", url], size, target, kind, watch)


def convert_into_url(source: Path, source_kind: Kind, url: str, *, watch: Watch) -> None:
    """Convert an image into what an NBD export takes; the export reads as zero."""
    size = virtual_size(source, source_kind)
    fixed = ["-n", "--target-is-zero", "-O", "raw", "-f", source_kind.value]
    _run([_program(), "convert", "-p", *fixed, _name(source), url], source, size, watch)


def _to_new_file(source: list[str], size: int, target: Path, kind: Kind, watch: Watch) -> Path:
    """Write under another name, and give the right one when all is there."""
    partial = target.with_name(target.name[: 255 - len(SUFFIX)] + SUFFIX)
    try:
        _run([_program(), "convert", "-p", "-O", kind.value, *source, _name(partial)], target, size, watch)
        watch.past_return()
        _publish(partial, target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def _publish(partial: Path, target: Path) -> None:
    try:
        with adapted(target):
            with partial.open("rb") as stream:
                os.fsync(stream.fileno())
            os.link(partial, target)
            sync_folder(target.parent)
    except DiskError as exc:
        if exc.code == ErrorCode.ERROR_ALREADY_EXISTS:
            raise already_there(target) from exc
        raise


def _run(command: list[str], path: Path, size: int, watch: Watch) -> None:
    """Run to the end, passing on the progress; a cancel ends the program first."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            errors = _follow(process, size, watch)
        except BaseException:
            _stop(process)
            raise
        if watch.cancel_requested() and process.poll() is None:
            _stop(process)
            raise Cancelled("The operation was cancelled.", path=str(path))
        if process.wait():
            raise _failed(path, errors)


def _follow(process: subprocess.Popen[bytes], size: int, watch: Watch) -> bytes:
    """Read what the program prints until it closes its streams or the watcher wants to stop."""
    assert process.stdout is not None
    assert process.stderr is not None
    streams = {process.stdout.fileno(): b"", process.stderr.fileno(): b""}
    open_streams = set(streams)
    while open_streams and not watch.cancel_requested():
        for stream in select.select(list(open_streams), [], [], LOOK_SECONDS)[0]:
            data = os.read(stream, 4096)
            if not data:
                open_streams.discard(stream)
            streams[stream] = (streams[stream] + data)[-4096:]
        if percents := _PERCENT.findall(streams[process.stdout.fileno()]):
            watch.advance("converting", int(size * float(percents[-1]) / 100), size)
    return streams[process.stderr.fileno()]


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _program() -> str:
    found = shutil.which(PROGRAM)
    if found is None:
        raise NotSupported(
            "qemu-img is not installed, and this format needs it.",
            advice="Install it: apt-get install qemu-utils",
        )
    return found


def _name(path: Path) -> str:
    """Keep a path from being read as a protocol or an option."""
    return f"file:{path}"


def _backing(path: Path, named: object) -> Path | None:
    return (
        Path(os.path.normpath(path.parent / named.removeprefix("file:"))) if isinstance(named, str) else None
    )


def _needs_other_files(facts: Mapping[str, Any]) -> bool:
    data = facts.get("format-specific", {}).get("data", {})
    return bool(facts.get("backing-filename") or facts.get("full-backing-filename") or data.get("data-file"))


def _refuse_description(path: Path) -> None:
    """Refuse a VMDK that is a text which names the files with its data: they could be any of the host."""
    with adapted(path), path.open("rb") as stream:
        if not stream.read(4) == _SPARSE_VMDK:
            raise _other_files(path)


def _other_files(path: Path) -> DiskError:
    return DiskError(
        f"{path}: the image is completed by another file that it names.",
        path=str(path),
        code=ErrorCode.VM_E_WRONG_HD_IMAGE_TYPE,
        advice="Make it whole first, if you trust it: qemu-img convert -O qcow2 IMAGE WHOLE",
    )


def _failed(path: Path, errors: bytes) -> DiskError:
    lines = errors.decode("utf-8", "replace").strip().splitlines()
    text = lines[-1].removeprefix("qemu-img: ") if lines else "qemu-img failed without a word"
    code = next((c for word, c in _CODES if word in text.lower()), ErrorCode.VM_E_HD_IMAGE_ACCESS)
    return DiskError(f"{path}: {text}.", path=str(path), code=code)
