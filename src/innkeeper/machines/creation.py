"""Create, register, unregister and delete machines."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final
from xml.sax.saxutils import escape

from innkeeper.errors import (
    DiskError,
    ErrorCode,
    InnkeeperError,
    InvalidArgument,
    MachineError,
    MachineNotFound,
    WrongState,
)
from innkeeper.machines.command import DELETE
from innkeeper.machines.guest.first_boot import refuse_first_boot, seed_files
from innkeeper.machines.image_users import raw_user_of, refuse_outside
from innkeeper.machines.machine import DiskKind, Machine, MachineState
from innkeeper.machines.named_files import images_in, values_in
from innkeeper.machines.naming import checked_label, checked_name, checked_path
from innkeeper.machines.new_machine import NewMachine, Source
from innkeeper.machines.ports.host import Host
from innkeeper.machines.service import Machines, lock_of
from innkeeper.machines.settings import refuse_setting
from innkeeper.machines.undo.overlay_names import run_of
from innkeeper.machines.undo.undoable import existing_plan, remember_parents
from innkeeper.machines.unless_cancelled import unless_cancelled
from innkeeper.machines.whereabouts import host_of
from innkeeper.tasks.running import RunningTask, TaskCancelled
from innkeeper.tasks.service import Tasks
from innkeeper.tasks.task import CancelEffect, Task
from innkeeper.wire.events import Json
from innkeeper.wire.json_fields import as_list, as_str
from innkeeper.wire.machine_settings import SETTINGS
from innkeeper.wire.virtual_pc import MIN_MEMORY_MIB

CREATE: Final = "machine_create"

#: The smallest and the largest disk that is made for a new machine.
MIN_DISK_BYTES: Final = 1 << 20
MAX_DISK_BYTES: Final = 64 << 40

_DISK: Final = "disk.qcow2"
_SEED: Final = "seed.iso"
_OFF: Final = frozenset({MachineState.TURNED_OFF, MachineState.SAVED})
_NAME: Final = re.compile(r"<name>.*?</name>", re.DOTALL)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Deletion:
    """Files that the deletion of a machine removes with it."""

    machine: str
    #: Files that go: undo disks, the saved state, firmware variables, the seed, and disks where asked for.
    deleted: tuple[str, ...]
    #: Files that stay.
    kept: tuple[str, ...]


class Creation:
    """The coming and going of machines on all hosts."""

    def __init__(
        self,
        *,
        machines: Machines,
        tasks: Tasks,
        directory: Callable[[], str],
        folders: Sequence[str] | None = None,
        sockets: Sequence[str] = (),
        hosts_elsewhere: Callable[[], Awaitable[Sequence[str]]] | None = None,
    ) -> None:
        """``directory`` says where new machines keep their files (``DefaultVMConfigurationPath``).

        ``folders``: where the files that images name may lie, anywhere for ``None``; ``sockets``: where those
        of exported disks are, which undo disks name. ``hosts_elsewhere``: the names of other servers' hosts.
        """
        self._hosts_elsewhere = hosts_elsewhere
        self._folders = folders
        self._sockets = sockets
        self._machines = machines
        self._tasks = tasks
        self._directory = directory
        tasks.register(CREATE, self._create)
        tasks.register(DELETE, self._delete)

    # Commands

    async def create(self, wanted: NewMachine, *, host: str = "", owner: str) -> Task:
        """Create a machine, with its disk, and what its guest is told at first (``CreateVirtualMachine``).

        Raises ``InvalidArgument`` (VM_E_CONFIG_NO_NAME, …_NAME_TOO_LONG, …_NAME_INVALID_CHAR,
        …_DUPLICATE_NAME) or ``DiskError`` (ERROR_FILE_NOT_FOUND, ERROR_ALREADY_EXISTS) at once.
        """
        hypervisor = await self._host(host)
        planned = await self._plan(hypervisor, wanted)
        return await self._tasks.start(
            CREATE,
            f"Create {planned.name}",
            {"machine": planned.to_json(), "host": hypervisor.id or hypervisor.name},
            # It has no UUID yet: its host and name are all that another could take.
            lock=lock_of(f"{hypervisor.id}/{planned.name}"),
            about=planned.name,
            host=hypervisor.id,
            owner=owner,
            cancel_effect=CancelEffect.BACK_TO_START,
        )

    async def register(self, path: str, *, name: str = "", host: str = "") -> Machine:
        """Register a machine by its definition's file (``RegisterVirtualMachine``), after ``unregister``.

        Raises ``DiskError`` (ERROR_FILE_NOT_FOUND, ERROR_BAD_PATHNAME, …) or ``InvalidArgument``.
        """
        hypervisor = await self._host(host)
        path = checked_path(path, what="definition")
        definition = await hypervisor.images.read(path)
        found = _NAME.search(definition)
        if found is None:
            raise InvalidArgument(f"{path} is not a machine's definition.", advice="Give a libvirt domain.")
        await self._refuse_outside(hypervisor, definition)
        wanted = name or found[0].removeprefix("<name>").removesuffix("</name>")
        checked_name(wanted, [each.name for each in await hypervisor.inventory.list()])
        if name:
            definition = definition.replace(found[0], f"<name>{escape(name)}</name>", 1)
        machine = await hypervisor.definitions.take_in(definition, _saved_beside(path))
        await self._machines.announce(machine.key)
        return machine

    async def _refuse_outside(self, host: Host, definition: str) -> None:
        """What the definition names itself may lie anywhere; what only its images name may not."""
        if self._folders is None:
            return
        known, folders = values_in(definition), (*self._folders, *self._sockets)
        for path, image_format in images_in(definition):
            await refuse_outside(host, path, image_format, folders, known)

    async def unregister(self, name: str) -> str:
        """Forget a machine and keep all its files (``UnregisterVirtualMachine``); returns its definition's.

        Raises ``WrongState`` (VM_E_VM_RUNNING) where it is not off or saved.
        """
        machine = await self._machines.get(name)
        _refuse_running(machine, "be unregistered")
        await self._machines.refuse_busy(machine)
        hypervisor = self._machines.hosts[machine.host]
        path = f"{self._directory()}/{machine.name}.xml"
        await hypervisor.images.write(path, await hypervisor.definitions.read(machine.name))
        await hypervisor.definitions.release(machine.name, _saved_beside(path))
        return path

    async def plan_deletion(self, name: str, *, disks: bool = False) -> Deletion:
        """The files that a deletion would remove; ``disks``: its disks too."""
        machine = await self._machines.get(name)
        return await self._deletion(self._machines.hosts[machine.host], machine, disks)

    async def delete(self, name: str, *, disks: bool = False, owner: str) -> Task:
        """Delete a machine with its saved state and undo disks (``DeleteVirtualMachine``).

        Raises ``WrongState`` (VM_E_VM_RUNNING) where it is not off or saved.
        """
        machine = await self._machines.get(name)
        _refuse_running(machine, "be deleted")
        await self._refuse_half_merged(machine, disks)
        return await self._tasks.start(
            DELETE,
            f"Delete {machine.title}",
            {"machine": machine.name, "host": machine.host_id, "disks": disks},
            lock=lock_of(machine.key),
            about=machine.title,
            host=machine.host_id,
            owner=owner,
            cancel_effect=CancelEffect.NONE,
        )

    async def _refuse_half_merged(self, machine: Machine, disks: bool) -> None:
        """Disks that stay must be whole: a merge that has begun comes to its end first."""
        runs = {run for disk in machine.disks if (run := run_of(disk.path)) is not None}
        for run in () if disks else runs:
            if await self._machines.merge_has_begun(machine.key, run):
                raise MachineError(
                    f"A merge of the undo disks of {machine.title} has begun: its disks are not whole.",
                    machine=machine.title,
                    code=ErrorCode.E_FAIL,
                    advice=f"Run: innkeeper machine undo {machine.title} --merge (or delete its disks too)",
                )

    # Planning

    async def _host(self, name: str) -> Host:
        hosts = self._machines.hosts
        if not name:
            return next(iter(hosts.values()))
        if name not in hosts:
            elsewhere = await self._hosts_elsewhere() if self._hosts_elsewhere is not None else ()
            raise InvalidArgument(
                f"There is no host “{name}”.",
                code=ErrorCode.ERROR_NOT_FOUND,
                advice=f"The hosts are: {', '.join(sorted({*hosts, *elsewhere}))}.",
            )
        return hosts[name]

    async def _plan(self, host: Host, wanted: NewMachine) -> NewMachine:
        name = checked_name(wanted.name, [each.name for each in await host.inventory.list()])
        labels = tuple(dict.fromkeys(map(checked_label, wanted.labels)))
        if wanted.first_boot is not None:
            refuse_first_boot(wanted.first_boot)
        await _refuse_hardware(host, wanted)
        await self._refuse_network(host, wanted.network)
        directory = f"{self._directory()}/{name}"
        disk = checked_path(wanted.disk_path or f"{directory}/{_DISK}", what="disk")
        planned = dataclasses.replace(
            wanted,
            labels=labels,
            disk_path=disk,
            seed_path=f"{directory}/{_SEED}" if wanted.first_boot is not None else "",
        )
        return await self._plan_disk(host, planned)

    async def _plan_disk(self, host: Host, wanted: NewMachine) -> NewMachine:
        size, image_format = wanted.disk_bytes, wanted.image_format
        if wanted.dvd:
            await _refuse_absent(host, checked_path(wanted.dvd, what="DVD image"))
        if wanted.source is not Source.EMPTY:
            image = checked_path(wanted.image, what="image")
            await _refuse_absent(host, image)
            image_format = image_format or await self._format_of(host, image)
            await refuse_outside(host, image, image_format, self._folders)
            size = max(size, await host.files.virtual_size(image, image_format))
        if not size:
            return dataclasses.replace(wanted, disk_path="")
        if not MIN_DISK_BYTES <= size <= MAX_DISK_BYTES and wanted.source is Source.EMPTY:
            small = size < MIN_DISK_BYTES
            raise InvalidArgument(
                f"A disk cannot have {size:,} bytes.",
                code=ErrorCode.VM_E_IMAGE_SIZE_TOO_SMALL if small else ErrorCode.VM_E_IMAGE_SIZE_TOO_LARGE,
                advice=f"Give {MIN_DISK_BYTES >> 20} MiB to {MAX_DISK_BYTES >> 40} TiB.",
            )
        for path in (wanted.disk_path, wanted.seed_path):
            if path and await host.files.identity(path) is not None:
                raise DiskError(
                    f"{path} is there already.",
                    path=path,
                    code=ErrorCode.ERROR_ALREADY_EXISTS,
                    advice="Remove it, or choose another name for the machine.",
                )
        return dataclasses.replace(wanted, disk_bytes=size, image_format=image_format)

    async def _format_of(self, host: Host, image: str) -> str:
        """The format of an image to begin with.

        A qcow2 image called ``.img`` is one where no guest can have written its header.
        """
        try:
            return await host.files.format(image)
        except DiskError as error:
            unclear = error.code is ErrorCode.VM_E_INVALID_HD_FILE
            if not unclear or not await host.files.is_qcow2_named_as_raw(image):
                raise
        user = await raw_user_of(self._machines.hosts, image)
        if user:
            raise DiskError(
                f"{image} is used by {user}, whose guest may have written what looks like qcow2.",
                path=image,
                code=ErrorCode.VM_E_INVALID_HD_FILE,
                advice="Say what it is: --format raw or --format qcow2.",
            )
        return "qcow2"

    async def _refuse_network(self, host: Host, network: str) -> None:
        known = [each.name for each in await host.information.networks()]
        if network and network not in known:
            raise InvalidArgument(
                f"{host.name} has no network “{network}”.",
                code=ErrorCode.VM_E_INVALID_VIRTUAL_NETWORK_ID,
                advice=f"It has: {', '.join(known)}.",
            )

    # Works

    async def _create(self, task: RunningTask, argument: Mapping[str, Json]) -> None:
        host = host_of(self._machines.hosts, task, argument)
        wanted = NewMachine.from_json(argument["machine"])
        try:
            await self._make_images(host, wanted, task)
            await task.set_cancel_effect(CancelEffect.NONE)
            if task.cancel_requested:  # and was taken, right before none was any more
                raise TaskCancelled("It was cancelled, and nothing of the machine is left.")
        except (InnkeeperError, TaskCancelled):
            await task.step("clear", lambda: _clear(host, wanted))
            raise
        task.report("Define", number=3, count=3)
        await task.step("define", lambda: self._define(host, wanted))
        await self._machines.announce(f"{host.name}/{wanted.name}")

    async def _make_images(self, host: Host, wanted: NewMachine, task: RunningTask) -> None:
        async def make_disk() -> Json:
            await unless_cancelled(task, _disk(host, wanted, _progress(task)))
            return None

        async def make_seed() -> Json:
            told = wanted.first_boot
            if told is not None and wanted.seed_path:
                await host.images.seed(wanted.seed_path, seed_files(wanted.name, told))
            return None

        if wanted.disk_path:
            task.report("Make the disk", number=1, count=3)
            await task.step("disk", make_disk)
        task.report("Make the seed", number=2, count=3)
        await task.step("seed", make_seed)

    async def _define(self, host: Host, wanted: NewMachine) -> Json:
        await host.definitions.define_new(wanted)
        if wanted.source is Source.OVERLAY:
            await remember_parents(host, wanted.name, [wanted.image])
        return None

    async def _delete(self, task: RunningTask, argument: Mapping[str, Json]) -> None:
        host, name = host_of(self._machines.hosts, task, argument), str(argument["machine"])
        with_disks = bool(argument["disks"])

        async def plan() -> Json:
            machine = await host.inventory.get(name)
            return [*(await self._deletion(host, machine, with_disks)).deleted]

        async def undefine() -> Json:
            # Gone already where a crash came right after it.
            with contextlib.suppress(MachineNotFound):
                await host.definitions.undefine(name)
            return None

        async def delete_files() -> Json:
            for path in paths:
                await host.disks.delete(path)
            for directory in dict.fromkeys(str(PurePosixPath(path).parent) for path in paths):
                if PurePosixPath(directory).name == name:
                    await host.images.remove_directory(directory)
            return None

        paths = as_list(await task.step("plan", plan), as_str)
        task.report("Delete", number=1, count=1)
        await task.step("undefine", undefine)
        await task.step("delete files", delete_files)

    async def _deletion(self, host: Host, machine: Machine, with_disks: bool) -> Deletion:
        undo = await existing_plan(host, machine)
        deleted = [] if undo is None else [*undo.overlays.values(), *undo.state.paths]
        disks = [
            disk.path
            for disk in machine.disks
            if disk.device == "disk" and disk.kind is DiskKind.FILE and disk.path
        ]
        bases = [*([] if undo is None else undo.files), *(p for p in disks if run_of(p) is None)]
        seeds = [disk.path for disk in machine.disks if _is_seed(machine.name, disk.path)]
        if machine.nvram_path:
            deleted.append(machine.nvram_path)
        with contextlib.suppress(InnkeeperError):
            deleted.append(await host.saved_states.path(machine.name))
        deleted += seeds
        deleted += bases if with_disks else []
        others = [disk.path for disk in machine.disks if disk.path not in (*deleted, *bases) and disk.path]
        kept = ([] if with_disks else bases) + others
        return Deletion(
            machine=machine.name,
            deleted=tuple(dict.fromkeys(deleted)),
            kept=tuple(dict.fromkeys(each for each in kept if run_of(each) is None)),
        )


async def _disk(host: Host, wanted: NewMachine, on_progress: Callable[[int, int], None]) -> None:
    match wanted.source:
        case Source.EMPTY:
            await host.images.create(wanted.disk_path, wanted.disk_bytes)
        case Source.COPY:
            await host.images.copy(
                wanted.image, wanted.image_format, wanted.disk_path, wanted.disk_bytes, on_progress
            )
        case Source.OVERLAY:
            await host.images.overlay(wanted.disk_path, wanted.image, wanted.image_format, wanted.disk_bytes)


def _progress(task: RunningTask) -> Callable[[int, int], None]:
    return lambda done, total: task.report(bytes_done=done, bytes_total=total)


async def _clear(host: Host, wanted: NewMachine) -> Json:
    """Delete every file of a machine whose creation failed."""
    for path in (wanted.disk_path, wanted.seed_path):
        if path:
            await host.disks.delete(path)
    if wanted.disk_path:
        await host.images.remove_directory(str(PurePosixPath(wanted.disk_path).parent))
    return None


async def _refuse_absent(host: Host, path: str) -> None:
    if await host.files.identity(path) is None:
        raise DiskError(
            f"There is no image {path}.",
            path=path,
            code=ErrorCode.ERROR_FILE_NOT_FOUND,
            advice="Check the path.",
        )


async def _refuse_hardware(host: Host, wanted: NewMachine) -> None:
    for key, value in (
        ("memory_mib", wanted.memory_mib),
        ("vcpus", wanted.vcpus),
        ("notes", wanted.notes),
    ):
        refuse_setting(SETTINGS[key], value)
    facts = await host.information.facts()
    if wanted.memory_mib > facts.memory_mib:
        raise InvalidArgument(
            f"A machine cannot have {wanted.memory_mib:,} MiB of memory.",
            advice=f"Give {MIN_MEMORY_MIB} to {facts.memory_mib:,} MiB, which is what the host has.",
        )


def _refuse_running(machine: Machine, command: str) -> None:
    if machine.state in _OFF:
        return
    raise WrongState.of(
        machine.title,
        machine.state,
        command,
        code=ErrorCode.VM_E_VM_RUNNING,
        advice="Turn it off or save it first.",
    )


def _is_seed(machine: str, path: str) -> bool:
    """Whether this is the seed that was made with the machine."""
    place = PurePosixPath(path)
    return place.name == _SEED and place.parent.name == machine


def _saved_beside(path: str) -> str:
    """Where the saved state lies that goes with a definition's file."""
    return str(PurePosixPath(path).with_suffix(".save"))
