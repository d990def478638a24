"""Refuse images and folders that an undo disk would fail on, each by a sentence of its own."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Final

from innkeeper.errors import ErrorCode, MachineUnfit
from innkeeper.machines.machine import Disk, DiskKind, Machine, MachineState
from innkeeper.machines.ports.host import Host
from innkeeper.machines.ports.image_files import Hindrance

_ACCESS: Final = ErrorCode.E_ACCESSDENIED
_NO_FILE: Final = ErrorCode.VM_E_HD_IMAGE_OPEN_FAIL

#: What is said of an image: the sentence goes on after its path. Then what to do, a command where there is
#: one, and the documented identifier.
_IMAGES: Final[Mapping[Hindrance, tuple[str, str, str, ErrorCode]]] = {
    Hindrance.MISSING: (
        "is not there",
        "Put the file back, or take the disk out of the machine.",
        "",
        ErrorCode.ERROR_FILE_NOT_FOUND,
    ),
    Hindrance.FOLDER: ("is a folder and no image", "Name the image in it.", "", _NO_FILE),
    Hindrance.BLOCK_DEVICE: (
        "is a block device that is declared as a file, and its undo disk would lie in {directory}",
        "Declare it as what it is in the definition: <disk type='block'> with <source dev='{path}'/>.",
        "",
        _NO_FILE,
    ),
    Hindrance.NO_FILE: (
        "is no file: a pipe, a socket or a device that is no disk",
        "Name an image file.",
        "",
        _NO_FILE,
    ),
    Hindrance.NO_DEVICE: (
        "is no block device, as the definition says it is",
        "Declare it as a file (type='file'), or name the device.",
        "",
        _NO_FILE,
    ),
    Hindrance.READ_ONLY_DEVICE: (
        "is a device that the user that QEMU runs as cannot write to",
        "See who may write to it (ls -lL), and whether it takes writes at all (blockdev --getro).",
        "",
        _ACCESS,
    ),
    Hindrance.UNREADABLE: (
        "cannot be read by the user that QEMU runs as",
        "",
        "chmod u+rw {quoted}",
        _ACCESS,
    ),
    Hindrance.NO_WRITES: (
        "cannot be written, so an update in an undo disk could never be kept",
        "",
        "chmod u+w {quoted}",
        _ACCESS,
    ),
    Hindrance.READ_ONLY_FILE_SYSTEM: (
        "lies on a file system that is mounted read-only",
        "Mount it for writing, or declare the disk read-only (<readonly/>).",
        "",
        _ACCESS,
    ),
    Hindrance.IMMUTABLE: ("is immutable (chattr +i)", "", "chattr -i {quoted}", _ACCESS),
    Hindrance.APPEND_ONLY: ("can only be appended to (chattr +a)", "", "chattr -a {quoted}", _ACCESS),
    Hindrance.OTHER_FORMAT: (
        "is no qcow2 image, as the definition says it is",
        "See which format it has (qemu-img info), and correct the definition.",
        "",
        ErrorCode.VM_E_INVALID_HD_FILE,
    ),
    Hindrance.CORRUPT: (
        "is marked as corrupt, and QEMU writes to it no more",
        "Copy it first, then repair it.",
        "qemu-img check -r all {quoted}",
        ErrorCode.VM_E_INVALID_HD_FILE,
    ),
    Hindrance.EXTERNAL_DATA: (
        "keeps its data in another file, which nobody could compare after a roll back",
        "Convert it into one file (qemu-img convert), and name that one in the definition.",
        "",
        ErrorCode.VM_E_INVALID_HD_FILE,
    ),
    Hindrance.IN_USE: (
        "is in use by another program, although {machine} is {state}",
        "See which program has it open, and end it.",
        "fuser -v {quoted}",
        ErrorCode.ERROR_SHARING_VIOLATION,
    ),
    Hindrance.LONG_PATH: (
        "has a longer path than a qcow2 image can name",
        "Move it to a path of at most 1,023 bytes.",
        "",
        _NO_FILE,
    ),
}

#: The same of the folder for its overlay.
_FOLDERS: Final[Mapping[Hindrance, tuple[str, str, str, ErrorCode]]] = {
    Hindrance.MISSING: ("is not there", "", "mkdir -p {quoted}", ErrorCode.ERROR_PATH_NOT_FOUND),
    Hindrance.UNREADABLE: (
        "cannot be entered by the user that QEMU runs as",
        "Give that user the folder, or move the image into one of its own.",
        "",
        _ACCESS,
    ),
    Hindrance.NO_WRITES: (
        "cannot be written by the user that QEMU runs as",
        "Give that user the folder, or move the image into one of its own.",
        "",
        _ACCESS,
    ),
    Hindrance.READ_ONLY_FILE_SYSTEM: (
        "is on a file system that is mounted read-only",
        "Mount it for writing.",
        "",
        _ACCESS,
    ),
    Hindrance.IMMUTABLE: ("is immutable (chattr +i)", "", "chattr -i {quoted}", _ACCESS),
    Hindrance.APPEND_ONLY: (
        "keeps every file for ever (chattr +a), its undo disk too",
        "",
        "chattr -a {quoted}",
        _ACCESS,
    ),
    Hindrance.LONG_NAME: (
        "takes no file with a name as long as the undo disk's ({name})",
        "Rename the machine: the name of an undo disk begins with its name.",
        "",
        ErrorCode.E_INVALIDARG,
    ),
    Hindrance.LONG_PATH: (
        "makes the path of the undo disk longer than programs can open",
        "Move the image to a shorter path.",
        "",
        ErrorCode.E_INVALIDARG,
    ),
    Hindrance.FULL: (
        "has no room for a new file",
        "Free some room, or some of its numbers of files (df -i).",
        "",
        ErrorCode.ERROR_DISK_FULL,
    ),
    Hindrance.QUOTA: (
        "takes no new file: the quota of the user that QEMU runs as is used up",
        "Raise the quota, or free some room.",
        "",
        ErrorCode.ERROR_DISK_FULL,
    ),
}

#: VHDs that are reached by exports, which have them open all the time.
_EXPORTED: Final = ("vhd", "vpc")
_AT_REST: Final = (MachineState.TURNED_OFF, MachineState.SAVED)


async def refuse_unfit_image(
    host: Host, machine: Machine, disk: Disk, path: str, kind: DiskKind, directory: str = ""
) -> None:
    """Raises ``MachineUnfit`` where an image cannot carry an undo disk, or take it in again.

    It is looked at before anybody opens it: to open a pipe may wait for ever. ``directory`` is the place of
    its overlay, where that is known.
    """
    if not path or kind not in (DiskKind.FILE, DiskKind.BLOCK):
        return
    found = await host.files.image_hindrance(
        path,
        disk.format,
        is_device=kind is DiskKind.BLOCK,
        is_idle=machine.state in _AT_REST and disk.format not in _EXPORTED,
    )
    if found is not None:
        subject = f"The disk {disk.target} of {machine.title} cannot be kept or undone: {path}"
        places = {"path": path, "directory": directory or str(PurePath(path).parent)}
        raise _refusal(machine, subject, _IMAGES[found], places)


async def refuse_unfit_folder(host: Host, machine: Machine, disk: Disk, overlay: str) -> None:
    """Raises ``MachineUnfit`` where an overlay cannot be made in its folder, and deleted again."""
    where = PurePath(overlay)
    found = await host.files.folder_hindrance(str(where.parent), where.name)
    if found is not None:
        subject = f"The disk {disk.target} of {machine.title} gets no undo disk: the folder {where.parent}"
        raise _refusal(machine, subject, _FOLDERS[found], {"path": str(where.parent), "name": where.name})


async def refuse_files_in_place(host: Host, machine: Machine, paths: Iterable[str]) -> None:
    """Raises ``MachineUnfit`` where a file of an undo point would have to replace one that is there.

    It may hold changes that nothing else holds: of a former installation, whose runs had these numbers too.
    """
    for path in paths:
        if await host.files.identity(path) is not None:
            raise in_place(machine.name, path)


def in_place(machine: str, path: str) -> MachineUnfit:
    """The refusal of a file that is there already."""
    return MachineUnfit(
        f"{path} is there already, where the undo point of {machine} would put a file of its own. "
        "It is left as it is.",
        machine=machine,
        code=ErrorCode.ERROR_ALREADY_EXISTS,
        advice="See what it is: an undo disk of a former installation may hold changes that are nowhere "
        "else. Then move it to another folder.",
    )


def is_beginning(text: str, beginning: str) -> bool:
    """Whether a note begins like one of ours; a crash may have cut it short, to nothing at most."""
    return beginning.startswith(text[: len(beginning)])


def _refusal(
    machine: Machine, subject: str, said: tuple[str, str, str, ErrorCode], places: Mapping[str, str]
) -> MachineUnfit:
    sentence, advice, command, code = said
    values = {
        **places,
        "quoted": shlex.quote(places["path"]),
        "machine": machine.name,
        "state": machine.state.words,
    }
    way_out = command.format_map(values)
    advice = advice.format_map(values)
    if way_out and way_out not in advice:
        advice = f"{advice} Run: {way_out}".lstrip()
    return MachineUnfit(
        f"{subject} {sentence.format_map(values)}.",
        machine=machine.title,
        code=code,
        advice=advice,
        way_out=way_out,
    )
