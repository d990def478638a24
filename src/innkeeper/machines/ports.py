"""What machines need from the world: hypervisors that carry them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from innkeeper.machines.change import Change, Scope
from innkeeper.machines.configuration import Configuration
from innkeeper.machines.guest.program import GuestProgram
from innkeeper.machines.host_facts import Acceleration, HostFacts, UsbDevice, VirtualNetwork
from innkeeper.machines.machine import Machine
from innkeeper.machines.new_machine import NewMachine
from innkeeper.machines.pipe import BytePipe as BytePipe
from innkeeper.machines.screen.input_devices import InputDevices
from innkeeper.machines.screen.ports import Screens
from innkeeper.machines.usage import Usage

#: Told, on the event loop, how far a long call has come: bytes done, bytes in all.
OnProgress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ExecResult:
    """What a command in the guest answered through qemu-guest-agent."""

    exit_code: int
    stdout: bytes
    stderr: bytes


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FileIdentity:
    """What tells that an image file is still the one it was."""

    size_bytes: int
    mtime_ns: int
    inode: int


class ImageFiles(Protocol):
    """The files of one host's disk images, where no hypervisor call reaches them."""

    async def identity(self, path: str) -> FileIdentity | None:
        """``None`` where there is no such file."""

    async def virtual_size(self, path: str) -> int:
        """The bytes a guest sees of the image, whatever its format."""

    async def checksum(self, path: str, on_progress: OnProgress | None = None) -> str:
        """A digest of the file's content; holes cost nothing, and equal zeros."""

    async def copy(self, source: str, target: str) -> None:
        """Copy a small file whole or not at all, over what is there."""

    async def find(self, directory: str, part: str) -> Sequence[str]:
        """The paths of the directory's files with ``part`` in their names, sorted."""

    async def format(self, path: str) -> str:
        """The image's format, by its first bytes and its last sector: ``raw`` where they say nothing."""


class DiskExports(Protocol):
    """Offers virtual hard disks to machines as plain bytes (``disks.exports.Exports``)."""

    def socket_of(self, path: str) -> str:
        """Where the export of this image listens, whether it runs or not."""

    def held(self, paths: Collection[str]) -> AbstractAsyncContextManager[None]:
        """Have these images offered for writing, and keep it so until machines have connected."""

    async def revive(self) -> Sequence[str]:
        """Start again what was killed; returns the images concerned."""


class ImageMaker(Protocol):
    """Makes image files on one host. Each is there whole or not at all; one that is there stays as it is."""

    async def create(self, path: str, size_bytes: int) -> None:
        """An empty qcow2 image."""

    async def copy(
        self,
        source: str,
        source_format: str,
        path: str,
        size_bytes: int,
        on_progress: OnProgress | None = None,
    ) -> None:
        """A qcow2 image that stands alone, with another's content; grown to ``size_bytes``."""

    async def overlay(self, path: str, base: str, base_format: str, size_bytes: int) -> None:
        """A qcow2 overlay over an image; grown to ``size_bytes`` where that is more."""

    async def seed(self, path: str, files: Mapping[str, str]) -> None:
        """A small DVD image with these files (name → content), which cloud-init looks for (``cidata``)."""

    async def write(self, path: str, content: str) -> None:
        """A small text file."""

    async def read(self, path: str) -> str:
        """A small text file. Raises ``DiskError``."""

    async def move(self, source: str, target: str) -> None:
        """Rename a file. Does nothing where the source is gone and the target is there."""

    async def remove_directory(self, path: str) -> None:
        """Remove a directory where it is empty."""


class Hypervisor(Protocol):
    """One host and its machines. Every call is idempotent where that has a meaning, and may be
    made again after a crash; every failure is one of ours (``errors.py``).
    """

    @property
    def name(self) -> str:
        """The host's name, unique in the inn."""

    @property
    def uri(self) -> str: ...

    @property
    def files(self) -> ImageFiles:
        """The host's image files; ``hypervisor.files.LocalFiles`` where they lie on this computer."""

    @property
    def screens(self) -> Screens:
        """What its machines show, and their serial ports."""

    @property
    def input_devices(self) -> InputDevices:
        """Their keyboards and mice."""

    @property
    def images(self) -> ImageMaker:
        """Makes image files on it."""

    async def open(self) -> None:
        """Connect, and begin to publish ``machine.*`` events. Reconnects by itself from then on."""

    async def close(self) -> None: ...

    # Questions

    async def machines(self) -> Sequence[Machine]:
        """All machines, by one bulk call."""

    async def machine(self, name: str) -> Machine:
        """Raises ``MachineNotFound``."""

    async def definition(self, name: str) -> str:
        """The persistent definition (libvirt XML)."""

    async def configuration(self, name: str, *, running: bool = False) -> Configuration:
        """How it is made: as it starts, or with ``running`` as it runs where it runs."""

    async def definition_path(self, name: str) -> str:
        """The file of its definition; empty where that lies on another computer, or nowhere."""

    async def saved_state_path(self, name: str) -> str:
        """The file of its saved state. Raises ``WrongState`` where there is none."""

    async def saved_definition(self, name: str) -> str:
        """The definition inside the saved state. Raises ``WrongState`` where there is none."""

    async def free_bytes(self, directory: str) -> int:
        """Room left where disk images of this host lie."""

    async def usage(self) -> Sequence[Usage]:
        """What every machine that is on has used, by one bulk call; machines that are busy may be missing."""

    async def memory_free_mib(self) -> int: ...

    async def facts(self) -> HostFacts:
        """What the host is, as far as it can be seen from here."""

    async def acceleration(self) -> Acceleration:
        """How new machines of the host run, and why so."""

    async def networks(self) -> Sequence[VirtualNetwork]:
        """The networks that adapters can be attached to; QEMU's own translation is always one."""

    async def usb_devices(self) -> Sequence[UsbDevice]:
        """The host's USB devices, and which of its machines has each."""

    # Life

    async def define(self, definition: str) -> Machine:
        """Make or change a machine's persistent definition."""

    async def define_new(self, wanted: NewMachine) -> Machine:
        """Define a machine as this host's are best made. One of this name that is there is left as it is."""

    async def release(self, name: str, saved_state: str) -> None:
        """Forget a machine that is off or saved, and nothing else: its NVRAM stays, its saved state is moved.

        ``saved_state`` is where to. Does nothing where the machine is gone.
        """

    async def take_in(self, definition: str, saved_state: str) -> Machine:
        """Define a machine again, and give it the saved state at this path where there is one."""

    async def change(self, name: str, change: Change, scope: Scope = Scope.PERSISTENT) -> None:
        """Change how it is made. ``Scope.RUNNING`` and ``BOTH`` for what can change while it runs:
        media, networks, notes, values, USB devices. Raises ``MachineError`` where what is named is not there.
        """

    async def rename(self, name: str, new_name: str) -> None:
        """Give a machine that is off another name. Does nothing where it has it already."""

    async def undefine(self, name: str) -> None:
        """Forget a machine that is off, with its saved state and NVRAM; its disks stay."""

    async def start(self, name: str, *, paused: bool = False, on_progress: OnProgress | None = None) -> None:
        """Boot it, or restore its saved state. Does nothing where it runs already."""

    async def restore_keeping_saved_state(
        self, name: str, sources: Mapping[str, str], on_progress: OnProgress | None = None
    ) -> None:
        """Restore the saved state onto overlays (target → path) over the saved disks; it is kept.

        The overlays are made anew: an earlier try has written to them, and memory must never meet a
        disk that was written since. Does nothing where the machine runs on them.
        """

    async def pause(self, name: str) -> None: ...

    async def resume(self, name: str) -> None: ...

    async def save(self, name: str, on_progress: OnProgress | None = None) -> None:
        """Save memory to the host's disk and stop; cancelling the awaiting task aborts it cleanly."""

    async def discard_saved_state(self, name: str) -> None:
        """Does nothing where there is none."""

    async def shut_down(self, name: str) -> None:
        """Ask the guest to power off; returns at once. The state tells when it has."""

    async def reboot(self, name: str) -> None:
        """Ask the guest to reboot; returns at once."""

    async def reset(self, name: str) -> None: ...

    async def turn_off(self, name: str) -> None:
        """Pull the plug. Does nothing where it is off; a saved state stays."""

    async def set_autostart(self, name: str, autostart: bool) -> None: ...

    # Undo disks

    async def backing_chain(self, path: str) -> Sequence[str]:
        """The image file and what it stands on, top first."""

    async def add_overlays(self, name: str, overlays: Mapping[str, str]) -> None:
        """Put a new qcow2 overlay (target → path) over each disk, all at once or none.

        Running, paused, off or saved; the persistent definition follows, a saved one stays.
        A machine that already has exactly these overlays is left as it is.
        """

    async def commit_overlays(
        self, name: str, bases: Mapping[str, str], on_progress: OnProgress | None = None
    ) -> None:
        """Merge each disk's overlay into its base (target → base path), and go over to the base.

        Running or paused; where it is off or saved, QEMU is started paused for it and stopped again.
        Adopts a merge that is under way. A saved state that stands on the bases is discarded first;
        one that stands on the overlays goes on with the bases.
        Afterwards live and persistent definition name the bases;
        the overlay files are left behind.
        """

    async def drop_overlays(self, name: str, bases: Mapping[str, str]) -> None:
        """Make the persistent definition name the bases (target → path) again. Off or saved only."""

    async def connect_disks(self, name: str) -> Sequence[str]:
        """Make the definition of a machine that is off use an export for each VHD, which QEMU misreads.

        Returns the targets of those that were changed. Raises ``NotSupported`` where the host cannot reach
        an export, and ``DiskError`` for a chain that cannot be opened.
        """

    async def delete_file(self, path: str) -> None:
        """Delete an image file of this host. Does nothing where it is gone."""

    # Through qemu-guest-agent

    async def freeze(self, name: str) -> int:
        """Freeze the guest's file systems; returns how many. Raises ``AgentError``."""

    async def thaw(self, name: str) -> int:
        """Thaw them. Does nothing where none is frozen."""

    def guest_program(self, name: str) -> GuestProgram:
        """The guest's qemu-guest-agent, as a program that can be asked."""

    async def guest_exec(self, name: str, argv: Sequence[str], *, timeout: float) -> ExecResult:
        """Run a command in the guest. Raises ``AgentError``."""

    async def guest_write_file(self, name: str, path: str, data: bytes) -> None:
        """Write a file in the guest. Raises ``AgentError``."""

    # Ports

    async def attach_agent_port(self, name: str) -> None:
        """Give the machine the virtio-serial port of the task agent, live where it runs."""

    async def open_agent_port(self, name: str) -> BytePipe:
        """Open the host's end of the task agent's port. Raises ``AgentError`` where there is none."""
