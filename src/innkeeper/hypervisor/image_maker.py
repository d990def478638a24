"""Make image files on this computer, by qemu-img and xorriso."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from innkeeper.disks import qemu_img
from innkeeper.disks.confined.reach import Reach
from innkeeper.disks.convert import convert
from innkeeper.disks.kind import Kind
from innkeeper.disks.look import opened_to_look
from innkeeper.disks.private_place import private_place
from innkeeper.disks.progress import Cancelled, Watch
from innkeeper.errors import DiskError, ErrorCode, NotSupported
from innkeeper.hypervisor.watched_thread import in_watched_thread
from innkeeper.machines.ports.progress import OnProgress

_MAX_TEXT_BYTES = 1 << 20
_WORDS = (
    ("no space left", ErrorCode.ERROR_DISK_FULL),
    ("permission denied", ErrorCode.E_ACCESSDENIED),
    ("no such file", ErrorCode.ERROR_FILE_NOT_FOUND),
)
#: The formats by libvirt's names; of a VHD the engine finds out which kind it is.
_KINDS = {
    "raw": Kind.RAW,
    "qcow2": Kind.QCOW2,
    "vhdx": Kind.VHDX,
    "vmdk": Kind.VMDK,
    "vpc": Kind.FIXED,
}

#: Makes a file at a place, followed by a watch.
Making = Callable[[Path, Watch], object]


class LocalImages:
    """The image files of this computer (``machines.ports.image_maker.ImageMaker``)."""

    async def create(self, path: str, size_bytes: int) -> None:
        """An empty qcow2 image."""
        if await asyncio.to_thread(_made_folder, path):
            await _make(path, lambda place, _watch: _create(place, size_bytes))

    async def copy(
        self,
        source: str,
        source_format: str,
        path: str,
        size_bytes: int,
        on_progress: OnProgress | None = None,
    ) -> None:
        """A qcow2 image that stands alone, with another's content."""

        def make(place: Path, watch: Watch) -> None:
            convert(source, place, Kind.QCOW2, source_kind=_kind(source, source_format), watch=watch)
            _grow(place, size_bytes)

        if await asyncio.to_thread(_made_folder, path):
            await _make(path, make, on_progress)

    async def overlay(self, path: str, base: str, base_format: str, size_bytes: int) -> None:
        """A qcow2 overlay over an image."""
        if await asyncio.to_thread(_made_folder, path):
            await _make(path, lambda place, _watch: _create(place, size_bytes, base, base_format))

    async def seed(self, path: str, files: Mapping[str, str]) -> None:
        """A small DVD image with these files, labelled for cloud-init."""
        if await asyncio.to_thread(_made_folder, path):
            await asyncio.to_thread(_expect_program, "xorriso")
            with (
                private_place(Path(path)) as place,
                tempfile.TemporaryDirectory(prefix="innkeeper-seed-") as folder,
            ):
                await asyncio.to_thread(_write_all, Path(folder), files)
                await _run(path, "xorriso", "-as", "genisoimage", "-quiet", "-output", str(place.path),
                           "-volid", "cidata", "-joliet", "-rock", folder)  # fmt: skip
                await asyncio.to_thread(lambda: place.publish(replace=True))

    async def write(self, path: str, content: str) -> None:
        """A small text file, over what is there."""

        def write() -> None:
            _made_folder(path)
            with private_place(Path(path)) as place:
                place.path.write_text(content)
                place.publish(replace=True)

        await _adapted(path, write)

    async def read(self, path: str) -> str:
        """A small text file."""
        if await asyncio.to_thread(_size, path) > _MAX_TEXT_BYTES:
            raise DiskError(f"{path} is too long.", path=path, code=ErrorCode.ERROR_INVALID_DATA)
        text: list[str] = []
        await _adapted(path, lambda: text.append(_text_of(path)))
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


def _text_of(path: str) -> str:
    with opened_to_look(path) as file:
        return file.read(_MAX_TEXT_BYTES).decode(errors="replace")


async def _make(path: str, making: Making, on_progress: OnProgress | None = None) -> None:
    """Make a file out of sight, and give it its name when it is whole; a cancel ends what makes it first."""

    def work(watch: Watch) -> None:
        with _named_in_errors(path), private_place(Path(path)) as place:
            making(place.path, watch)
            place.publish(replace=True)

    await in_watched_thread(work, on_progress)


def _create(place: Path, size_bytes: int, base: str = "", base_format: str = "") -> None:
    """Make an empty qcow2 image, alone or over a base, which is not opened: the size is known."""
    over = ["-u", "-b", base, "-F", base_format] if base else []
    arguments = ["create", "-q", "-f", "qcow2", *over, qemu_img.new_file(place), str(size_bytes)]
    qemu_img.run(arguments, place, 0, reach=Reach(writes=(place.parent,)))


def _grow(place: Path, size_bytes: int) -> None:
    """An image is never made smaller."""
    if qemu_img.look(place, Kind.QCOW2).virtual_size < size_bytes:
        arguments = ["resize", "-q", "-f", "qcow2", qemu_img.new_file(place), str(size_bytes)]
        qemu_img.run(arguments, place, size_bytes, reach=Reach(writes=(place,)))


def _kind(source: str, source_format: str) -> Kind:
    if source_format not in _KINDS:
        raise NotSupported(
            f"{source}: an image of the format {source_format} is not copied.",
            advice="Convert it to qcow2 first.",
        )
    return _KINDS[source_format]


@contextlib.contextmanager
def _named_in_errors(path: str) -> Iterator[None]:
    """Name in an error the image that was to be made, not the place where it was."""
    try:
        yield
    except Cancelled:
        raise
    except DiskError as error:
        sentence = error.sentence.partition(": ")[2] or error.sentence
        raise DiskError(
            f"{path} could not be made: {sentence}", path=path, code=error.code, advice=error.advice
        ) from error


async def _run(path: str, *command: str) -> None:
    """Run to the end; a cancel ends the program first."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, complaint = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise _failed(path, complaint)


def _failed(path: str, complaint: bytes) -> DiskError:
    lines = complaint.decode(errors="replace").strip().splitlines() or ["it failed without a message"]
    text = lines[-1].rstrip(".")
    code = next((code for word, code in _WORDS if word in text.lower()), ErrorCode.VM_E_HD_IMAGE_ACCESS)
    return DiskError(f"{path} could not be made: {text}.", path=path, code=code)


def _expect_program(program: str) -> None:
    if shutil.which(program) is None:
        raise NotSupported(
            f"{program} is not installed, and this needs it.", advice=f"Install it: apt-get install {program}"
        )


def _made_folder(path: str) -> bool:
    """Make the folder of a file that is to be made; whether it is still to be made."""
    if Path(path).exists():
        return False
    with _translated(path):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    return True


def _write_all(folder: Path, files: Mapping[str, str]) -> None:
    for name, content in files.items():
        (folder / name).write_text(content)


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
