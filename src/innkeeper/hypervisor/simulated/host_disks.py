"""Disk images of a simulated host."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from innkeeper.errors import DiskError, ErrorCode
from innkeeper.hypervisor.simulated import acts
from innkeeper.hypervisor.simulated import disks as fake_disks
from innkeeper.hypervisor.simulated.machines import SimulatedMachine, format_of
from innkeeper.hypervisor.simulated.simulation import Simulation
from innkeeper.machines.machine import Disk, DiskKind
from innkeeper.machines.ports.disks import DiskStorage, ImageUser
from innkeeper.machines.undo.overlay_names import run_of
from innkeeper.servers.fence import passed


class SimulatedDisks:
    """The disk images of a simulated host (``machines.ports.disks.Disks``)."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._chains = _Chains()

    async def backing_chain(self, path: str) -> Sequence[str]:
        """The image file and the images it stands on."""
        return await self._simulation.blocking(lambda: self._chain(path))

    async def users(self, path: str) -> Sequence[ImageUser]:
        """Who stands on an image."""
        return (await self.users_of([path]))[path]

    async def users_of(self, paths: Sequence[str]) -> Mapping[str, Sequence[ImageUser]]:
        """Who stands on each of these images."""
        await self._simulation.condition.reach()
        machines = [*self._simulation.machines.values()]
        named = [(m.name, d) for m in machines for d in (*m.disks, *m.live_disks) if d.path]
        return await self._simulation.blocking(lambda: _users(paths, named, self._chains))

    async def chain_formats(self, path: str) -> Mapping[str, str]:
        """The images of the chain; overlays are qcow2, as a real host's would be."""
        return await self._simulation.blocking(lambda: {each: format_of(each) for each in self._chain(path)})

    def _chain(self, path: str) -> Sequence[str]:
        self._simulation.touch_disk(path)
        return fake_disks.chain(path)

    async def free_bytes(self, directory: str) -> int:
        """Room left, as the simulation was told; none on a disk that is full."""
        await self._simulation.condition.reach()
        return 0 if self._simulation.condition.is_full else self._simulation.room_bytes

    async def delete(self, path: str) -> None:
        """Delete an image file."""
        await passed(self._simulation.fence)
        await self._simulation.delete(Path(path))

    async def delete_undo_disk(self, path: str, base: str) -> None:
        """Delete an undo disk over ``base``, or an empty file."""
        await passed(self._simulation.fence)

        def delete() -> None:
            file = Path(path)
            if file.exists() and file.stat().st_size and fake_disks.chain(path)[1:2] != [base]:
                raise DiskError(
                    f"{path} is in the place of an undo disk, and is none over {base}.",
                    path=path,
                    code=ErrorCode.ERROR_ALREADY_EXISTS,
                    advice="See what it is, and move it to another folder.",
                )
            file.unlink(missing_ok=True)

        await self._simulation.blocking(delete)

    async def at_next_start(self, name: str) -> Sequence[Disk] | None:
        """The drives of the definition."""
        return await self._simulation.simulate(name, lambda machine, _: tuple(machine.disks))

    async def storage(self, name: str, target: str) -> DiskStorage:
        """Where the content of a machine's disk is: below its undo disk."""

        def look(machine: SimulatedMachine, _: float) -> DiskStorage:
            disk = next(each for each in machine.active_disks if each.target == target)
            images = fake_disks.chain_if_any(disk.path)
            chain = tuple(path for path in images if run_of(path) is None) or (disk.path,)
            has_path = disk.kind is not DiskKind.NETWORK
            return DiskStorage(
                source=chain[0],
                kind=disk.kind,
                path=chain[0] if has_path else "",
                format=format_of(chain[0]) if has_path else disk.format,
                size_bytes=fake_disks.DISK_BYTES,
                chain=chain if has_path else (),
            )

        return await self._simulation.simulate(name, look)

    async def undo_directory(self) -> str:
        """A folder of the simulation's own."""
        directory = self._simulation.directory / "undo"
        await self._simulation.blocking(lambda: directory.mkdir(exist_ok=True))
        return str(directory)

    async def use_exports(self, name: str) -> Sequence[str]:
        """Make the definition use an export for each VHD."""

        def use(machine: SimulatedMachine, _: float) -> Sequence[str]:
            acts.need(machine, "be given its disks by exports", not machine.is_on)
            found = [disk.target for disk in machine.disks if disk.format == "vpc"]
            machine.disks = [
                dataclasses.replace(disk, format="vhd") if disk.target in found else disk
                for disk in machine.disks
            ]
            return found

        return await self._simulation.simulate(name, use, doing="export")


class _Chains:
    """The files that images consist of; a base that nobody has written to since is not opened again."""

    def __init__(self) -> None:
        self._bases: dict[str, tuple[int, ...]] = {}

    def of(self, path: str) -> list[_File]:
        """The image's file and those it stands on, top first."""
        try:
            found = os.stat(path)  # noqa: PTH116 - a look at one machine makes hundreds
        except OSError:
            return [path]
        stamp = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
        if self._bases.get(path) == stamp:
            return [(found.st_dev, found.st_ino)]
        chain = fake_disks.chain_if_any(path)
        if chain == [path]:
            self._bases[path] = stamp
        return [_file(each) for each in chain or [path]]


def _users(
    paths: Sequence[str], named: Sequence[tuple[str, Disk]], chains_of: _Chains
) -> Mapping[str, Sequence[ImageUser]]:
    # By the files that they stand on: as many images may be asked for as there are.
    standing: dict[_File, list[tuple[str, Disk, bool]]] = {}
    for machine, disk in named:
        top, *below = chains_of.of(disk.path)
        standing.setdefault(top, []).append((machine, disk, True))
        for file in below:
            standing.setdefault(file, []).append((machine, disk, False))
    folders = _Folders(chains_of)
    users: dict[str, Sequence[ImageUser]] = {}
    for path in paths:
        file = _file(path)
        by_machine = {
            ImageUser(
                image=disk.path,
                machine=machine,
                target=disk.target,
                format=disk.format if is_top else format_of(path),
            )
            for machine, disk, is_top in standing.get(file, ())
        }
        beside = folders.over(path, file) - {user.image for user in by_machine}
        ordered = sorted(by_machine, key=lambda user: (user.machine, user.target, user.image))
        users[path] = [*ordered, *(ImageUser(image=each) for each in sorted(beside))]
    return users


class _Folders:
    """The images in folders by the files that they stand on, for one look."""

    def __init__(self, chains_of: _Chains) -> None:
        self._chains_of = chains_of
        self._real: dict[str, str] = {}
        self._over: dict[str, dict[_File, set[str]]] = {}

    def over(self, path: str, file: _File) -> set[str]:
        """The images beside this one, under the names of its folder and of that of its file."""
        folder = os.path.dirname(path)  # noqa: PTH120 - a look at all hosts asks for thousands
        return {each for where in {folder, self._real_folder(path, folder)} for each in self._in(where, file)}

    def _real_folder(self, path: str, folder: str) -> str:
        if os.path.islink(path):  # noqa: PTH114 - the same
            return str(Path(path).resolve().parent)
        if folder not in self._real:
            self._real[folder] = str(Path(folder).resolve())
        return self._real[folder]

    def _in(self, folder: str, file: _File) -> set[str]:
        if folder not in self._over:
            over = self._over[folder] = {}
            for each in _within(Path(folder)):
                for below in self._chains_of.of(each)[1:]:
                    over.setdefault(below, set()).add(each)
        return self._over[folder].get(file, set())


#: A file by its device and number, or by its name where it is not there.
_File = tuple[int, int] | str


def _within(folder: Path) -> list[str]:
    """The files of a folder; none where there is no folder."""
    try:
        with os.scandir(folder) as entries:
            return [entry.path for entry in entries if entry.is_file()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _file(path: str) -> _File:
    try:
        found = os.stat(path)  # noqa: PTH116 - a look at a host makes hundreds
    except OSError:
        return path
    return found.st_dev, found.st_ino
