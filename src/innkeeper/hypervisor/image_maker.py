"""Make image files on this computer, by qemu-img and xorriso."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from innkeeper.errors import DiskError, ErrorCode, NotSupported
from innkeeper.machines.ports.progress import OnProgress

_PERCENT = re.compile(rb"\((\d+(?:\.\d+)?)/100%\)")
_MAX_TEXT_BYTES = 1 << 20
_WORDS = (
    ("no space left", ErrorCode.ERROR_DISK_FULL),
    ("permission denied", ErrorCode.E_ACCESSDENIED),
    ("no such file", ErrorCode.ERROR_FILE_NOT_FOUND),
    ("lock", ErrorCode.ERROR_SHARING_VIOLATION),
)


class LocalImages:
    """The image files of this computer (``machines.ports.image_maker.ImageMaker``)."""

    async def create(self, path: str, size_bytes: int) -> None:
        """An empty qcow2 image."""
        if await asyncio.to_thread(_made_folder, path):
            await self._publish(path, "create", "-q", "-f", "qcow2", _part(path), str(size_bytes))

    async def copy(
        self,
        source: str,
        source_format: str,
        path: str,
        size_bytes: int,
        on_progress: OnProgress | None = None,
    ) -> None:
        """A qcow2 image that stands alone, with another's content."""
        if not await asyncio.to_thread(_made_folder, path):
            return
        report = on_progress or (lambda _done, _total: None)
        part = _part(path)
        try:
            arguments = ("convert", "-p", "-f", source_format, "-O", "qcow2", _file(source), part)
            await _qemu_img(
                path, *arguments, report=lambda part_done: report(int(size_bytes * part_done), size_bytes)
            )
            # An image is never made smaller: -f qcow2 knows its size.
            await _grow(path, part, size_bytes)
            await asyncio.to_thread(_give_name, path)
        finally:
            _forget_part(path)

    async def overlay(self, path: str, base: str, base_format: str, size_bytes: int) -> None:
        """A qcow2 overlay over an image."""
        if await asyncio.to_thread(_made_folder, path):
            arguments = ("create", "-q", "-f", "qcow2", "-b", base, "-F", base_format)
            await self._publish(path, *arguments, _part(path), str(size_bytes))

    async def seed(self, path: str, files: Mapping[str, str]) -> None:
        """A small DVD image with these files, labelled for cloud-init."""
        if await asyncio.to_thread(_made_folder, path):
            await asyncio.to_thread(_expect_program, "xorriso")
            with tempfile.TemporaryDirectory(prefix="innkeeper-seed-") as folder:
                await asyncio.to_thread(_write_all, Path(folder), files)
                await _run(path, "xorriso", "-as", "genisoimage", "-quiet", "-output", _part(path),
                           "-volid", "cidata", "-joliet", "-rock", folder)  # fmt: skip
            await asyncio.to_thread(_give_name, path)

    async def write(self, path: str, content: str) -> None:
        """A small text file, over what is there."""

        def write() -> None:
            _made_folder(path)
            Path(_part(path)).write_text(content)
            os.replace(_part(path), path)  # noqa: PTH105  the same call

        await _adapted(path, write)

    async def read(self, path: str) -> str:
        """A small text file."""
        if await asyncio.to_thread(_size, path) > _MAX_TEXT_BYTES:
            raise DiskError(f"{path} is too long.", path=path, code=ErrorCode.ERROR_INVALID_DATA)
        text: list[str] = []
        await _adapted(path, lambda: text.append(Path(path).read_text(errors="replace")))
        return text[0]

    async def move(self, source: str, target: str) -> None:
        """Rename a file; copied where it lies on another file system."""

        def move() -> None:
            if Path(source).exists():
                Path(target).parent.mkdir(parents=True, exist_ok=True)
                shutil.move(source, target)

        await _adapted(source, move)

    async def remove_directory(self, path: str) -> None:
        """Remove a directory where it is empty."""

        def remove() -> None:
            with contextlib.suppress(OSError):
                Path(path).rmdir()

        await asyncio.to_thread(remove)

    async def _publish(self, path: str, *arguments: str) -> None:
        try:
            await _qemu_img(path, *arguments)
            await asyncio.to_thread(_give_name, path)
        finally:
            _forget_part(path)


async def _grow(path: str, part: str, size_bytes: int) -> None:
    out = await _run(path, "qemu-img", "info", "--output=json", "-f", "qcow2", part)
    found = re.search(rb'"virtual-size": (\d+)', out)
    if found is not None and int(found[1]) < size_bytes:
        await _qemu_img(path, "resize", "-q", "-f", "qcow2", part, str(size_bytes))


async def _qemu_img(path: str, *arguments: str, report: ShareDone | None = None) -> None:
    await _run(path, "qemu-img", *arguments, report=report)


async def _run(path: str, *command: str, report: ShareDone | None = None) -> bytes:
    """Run to the end; a cancel ends the program first. Returns what it printed."""
    await asyncio.to_thread(_expect_program, command[0])
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, complaint = await asyncio.gather(_heard(process.stdout, report), _heard(process.stderr, None))
        code = await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if code:
        raise _failed(path, complaint)
    return out


async def _heard(stream: asyncio.StreamReader | None, report: ShareDone | None) -> bytes:
    """What a program prints, its last 64 KiB; a percentage in it is told."""
    heard = b""
    while stream is not None and (data := await stream.read(4096)):
        heard = (heard + data)[-65536:]
        if report is not None and (shares := _PERCENT.findall(heard[-256:])):
            report(float(shares[-1]) / 100)
    return heard


def _failed(path: str, complaint: bytes) -> DiskError:
    lines = complaint.decode(errors="replace").strip().splitlines() or ["it failed without a word"]
    text = lines[-1].removeprefix("qemu-img: ").rstrip(".")
    code = next((code for word, code in _WORDS if word in text.lower()), ErrorCode.VM_E_HD_IMAGE_ACCESS)
    return DiskError(f"{path} could not be made: {text}.", path=path, code=code)


def _expect_program(program: str) -> None:
    if shutil.which(program) is None:
        package = {"xorriso": "xorriso", "qemu-img": "qemu-utils"}[program]
        raise NotSupported(
            f"{program} is not installed, and this needs it.", advice=f"Install it: apt-get install {package}"
        )


def _made_folder(path: str) -> bool:
    """Make the folder of a file that is to be made; whether it is still to be made."""
    if Path(path).exists():
        return False
    with _translated(path):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(_part(path)).unlink(missing_ok=True)
    return True


def _give_name(path: str) -> None:
    """Give a file that is whole its name, durably."""
    with _translated(path):
        with Path(_part(path)).open("rb") as made:
            os.fsync(made.fileno())
        os.replace(_part(path), path)  # noqa: PTH105  the same call
        folder = os.open(Path(path).parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _forget_part(path: str) -> None:
    """Quick, and also when the task is being cancelled: then nothing may be awaited."""
    Path(_part(path)).unlink(missing_ok=True)


def _write_all(folder: Path, files: Mapping[str, str]) -> None:
    for name, content in files.items():
        (folder / name).write_text(content)


def _part(path: str) -> str:
    return f"{path}.part"


def _file(path: str) -> str:
    """Keep a path from being read as a protocol."""
    return f"file:{path}"


def _size(path: str) -> int:
    with _translated(path):
        return Path(path).stat().st_size


async def _adapted(path: str, call: Callable[[], None]) -> None:
    def work() -> None:
        with _translated(path):
            call()

    await asyncio.to_thread(work)


@contextlib.contextmanager
def _translated(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        codes: dict[type[OSError], ErrorCode] = {
            FileNotFoundError: ErrorCode.ERROR_FILE_NOT_FOUND,
            PermissionError: ErrorCode.E_ACCESSDENIED,
            NotADirectoryError: ErrorCode.ERROR_PATH_NOT_FOUND,
            IsADirectoryError: ErrorCode.ERROR_INVALID_NAME,
        }
        reason = error.strerror or str(error)
        raise DiskError(
            f"{path}: {reason}.", path=path, code=codes.get(type(error), ErrorCode.VM_E_HD_IMAGE_ACCESS)
        ) from error


#: Told the share of the work that is done, 0 to 1.
ShareDone = Callable[[float], None]
