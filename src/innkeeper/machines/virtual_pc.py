"""Settings that belong to no single machine: paths, files, options, floppies (``IVMVirtualPC``)."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from innkeeper.disks.paths import new_image_path
from innkeeper.errors import DiskError, ErrorCode, InvalidArgument
from innkeeper.machines.configuration import Value
from innkeeper.machines.floppy import FLOPPIES, floppy_image, floppy_type
from innkeeper.machines.naming import checked_path
from innkeeper.machines.service import Machines
from innkeeper.machines.values import checked_key, refuse_value
from innkeeper.tasks.ports import Clock
from innkeeper.wire.virtual_pc import FloppyDiskImageType

#: The options that Innkeeper itself reads; others are kept as they come.
_CONFIGURATION_PATH: Final = "paths/configuration"
_SEARCH_PATHS: Final = "paths/search"
DEFAULTS: Mapping[str, Value] = {"idle_timeout": 30}

#: What files of each kind end with.
HARD_DISKS: Final = (".vhd", ".vhdx", ".qcow2", ".raw", ".img", ".vmdk")
DVDS: Final = (".iso",)
FLOPPY_DISKS: Final = (".vfd", ".flp", ".img")
MACHINES: Final = (".xml", ".vmc")
_MOST_FILES: Final = 10_000
_LARGEST_FLOPPY: Final = max(FLOPPIES.values())


class OptionStore(Protocol):
    """Keeps options. Every write is durable when the call returns."""

    async def all(self) -> Mapping[str, Value]:
        """Every option that was set."""

    async def set(self, key: str, value: Value) -> None: ...

    async def remove(self, key: str) -> bool:
        """Delete it; returns whether it was there."""


class VirtualPC:
    """The service as the documented host object."""

    def __init__(self, *, machines: Machines, options: OptionStore, clock: Clock, default_path: Path) -> None:
        """``default_path`` is where new machines keep their files while nobody has said otherwise."""
        self._machines = machines
        self._options = options
        self._clock = clock
        self._default_path = default_path
        self._configuration_path = str(default_path)
        self._started_at = clock.monotonic()

    async def open(self) -> None:
        """Read what was set."""
        found = (await self._options.all()).get(_CONFIGURATION_PATH)
        self._configuration_path = str(found or self._default_path)

    # Paths

    @property
    def configuration_path(self) -> str:
        """Where new machines keep their files (``DefaultVMConfigurationPath``)."""
        return self._configuration_path

    async def set_configuration_path(self, path: str) -> None:
        """Set where new machines keep their files. Raises ``DiskError`` for what is no folder."""
        path = await _checked_folder(path)
        await self._options.set(_CONFIGURATION_PATH, path)
        self._configuration_path = path

    async def search_paths(self) -> tuple[str, ...]:
        """Where files are looked for (``SearchPaths``)."""
        message = str((await self._options.all()).get(_SEARCH_PATHS, ""))
        return tuple(path for path in message.split("\n") if path)

    async def set_search_paths(self, paths: Sequence[str]) -> None:
        """Set where files are looked for: absolute folders that are there."""
        checked = [await _checked_folder(path) for path in dict.fromkeys(paths)]
        await self._options.set(_SEARCH_PATHS, "\n".join(checked))

    # Files

    async def hard_disk_files(self, more: Sequence[str] = ()) -> Sequence[str]:
        """The disk images in the search paths and in ``more`` (``GetHardDiskFiles``)."""
        return await self._files(HARD_DISKS, more)

    async def dvd_files(self, more: Sequence[str] = ()) -> Sequence[str]:
        """The DVD images there (``GetDVDFiles``)."""
        return await self._files(DVDS, more)

    async def floppy_disk_files(self, more: Sequence[str] = ()) -> Sequence[str]:
        """The floppy images there (``GetFloppyDiskFiles``): what is small enough to be one."""
        return await self._files(FLOPPY_DISKS, more, largest=_LARGEST_FLOPPY)

    async def machine_files(
        self, more: Sequence[str] = (), *, without_registered: bool = False
    ) -> Sequence[str]:
        """The definitions there and where new machines are kept (``GetVirtualMachineFiles``)."""
        found = await self._files(MACHINES, [*more, self._configuration_path])
        if not without_registered:
            return found
        known = {machine.name.casefold() for machine in await self._machines.list()}
        return [path for path in found if Path(path).stem.casefold() not in known]

    async def _files(
        self, suffixes: tuple[str, ...], more: Sequence[str], largest: int | None = None
    ) -> Sequence[str]:
        extra = [checked_path(path, what="folder") for path in more]
        folders = dict.fromkeys((*await self.search_paths(), *extra))
        return await asyncio.to_thread(lambda: sorted(_found(folders, suffixes, largest)))

    # Floppies

    async def create_floppy(self, path: str, image_type: FloppyDiskImageType) -> None:
        """Make a formatted floppy image (``CreateFloppyDiskImage``): of low or high density.

        Raises ``InvalidArgument`` for another type, ``DiskError`` (ERROR_ALREADY_EXISTS, …).
        """
        if image_type not in (FloppyDiskImageType.LOW_DENSITY, FloppyDiskImageType.HIGH_DENSITY):
            raise InvalidArgument(
                f"No floppy of the type {image_type.name} is made.",
                advice="Make one of low density (720 KiB) or high density (1.44 MB).",
            )
        path = checked_path(path, what="floppy image")

        def make() -> None:
            target = new_image_path(path)
            try:
                with target.open("xb") as image:
                    image.write(floppy_image(image_type))
                    os.fsync(image.fileno())
            except OSError as error:
                raise _failed(path, error) from error

        await asyncio.to_thread(make)

    async def floppy_type(self, path: str) -> FloppyDiskImageType:
        """The type of a floppy image, by its size (``GetFloppyDiskImageType``)."""
        path = checked_path(path, what="floppy image")

        def look() -> FloppyDiskImageType:
            try:
                return floppy_type(Path(path).stat().st_size)
            except OSError as error:
                raise _failed(path, error) from error

        return await asyncio.to_thread(look)

    # Options

    async def values(self) -> Mapping[str, Value]:
        """Every option (``GetConfigurationValue``)."""
        return dict(sorted({**DEFAULTS, **await self._options.all()}.items()))

    async def get_value(self, key: str) -> Value:
        """One option. Raises ``InvalidArgument`` (VM_E_PREF_NOT_FOUND)."""
        known = await self.values()
        if checked_key(key) not in known:
            raise _unknown(key)
        return known[key]

    async def set_value(self, key: str, value: Value) -> None:
        """Set one option (``SetConfigurationValue``)."""
        checked_key(key)
        refuse_value(value)
        if key == _CONFIGURATION_PATH:
            await self.set_configuration_path(str(value))
        elif key == _SEARCH_PATHS:
            await self.set_search_paths(str(value).split("\n"))
        else:
            await self._options.set(key, value)

    async def remove_value(self, key: str) -> None:
        """Remove one option (``RemoveConfigurationValue``). Raises as ``get_value`` does."""
        if not await self._options.remove(checked_key(key)):
            raise _unknown(key)
        await self.open()

    # Itself

    @property
    def up_time(self) -> dt.timedelta:
        """How long the service has been running (``UpTime``)."""
        return dt.timedelta(seconds=self._clock.monotonic() - self._started_at)


def _found(folders: Iterable[str], suffixes: tuple[str, ...], largest: int | None) -> set[str]:
    found: set[str] = set()
    for folder in folders:
        for at, _, names in os.walk(folder):
            for name in names:
                path = Path(at, name)
                if name.lower().endswith(suffixes) and _fits(path, largest):
                    found.add(str(path))
                if len(found) >= _MOST_FILES:
                    return found
    return found


def _fits(path: Path, largest: int | None) -> bool:
    try:
        return path.is_file() and (largest is None or path.stat().st_size <= largest)
    except OSError:
        return False


async def _checked_folder(path: str) -> str:
    path = checked_path(path, what="folder")
    if not await asyncio.to_thread(Path(path).is_dir):
        is_file = await asyncio.to_thread(Path(path).exists)
        raise DiskError(
            f"{path} is not a folder.",
            path=path,
            code=ErrorCode.ERROR_FILE_NOT_FOUND if is_file else ErrorCode.ERROR_PATH_NOT_FOUND,
            advice="Make it first.",
        )
    return path


def _failed(path: str, error: OSError) -> DiskError:
    codes: dict[type[OSError], ErrorCode] = {
        FileNotFoundError: ErrorCode.ERROR_FILE_NOT_FOUND,
        FileExistsError: ErrorCode.ERROR_ALREADY_EXISTS,
        NotADirectoryError: ErrorCode.ERROR_PATH_NOT_FOUND,
        PermissionError: ErrorCode.E_ACCESSDENIED,
    }
    code = codes.get(type(error), ErrorCode.ERROR_DISK_FULL if error.errno == 28 else None)
    return DiskError(f"{path}: {error.strerror}.", path=path, code=code)


def _unknown(key: str) -> InvalidArgument:
    return InvalidArgument(
        f"There is no option “{key}”.",
        code=ErrorCode.VM_E_PREF_NOT_FOUND,
        advice="innkeeper host values lists what there is.",
    )
