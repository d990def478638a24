"""Look through folders for images that stand on others, and say what could not be looked at."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import libvirt

from innkeeper.disks.bases import bases_of
from innkeeper.errors import DiskError, ErrorCode
from innkeeper.hypervisor.libvirt.images import Images

#: More images in one folder than anybody keeps.
_MOST_IMAGES = 10_000
#: Not there any more, or nothing that is an image.
NO_IMAGE = {ErrorCode.ERROR_FILE_NOT_FOUND, ErrorCode.ERROR_PATH_NOT_FOUND}
_NOT_READ = "it may not be read, and libvirt knows no base in its format"
#: What a file system keeps for itself.
_NO_FOLDERS = {"lost+found"}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Folder:
    """What the images of one folder stand on."""

    #: Each image with one of those below it.
    bases: tuple[tuple[str, str], ...] = ()
    #: Images, or the folder itself, of which that is not known, each with the reason.
    unseen: tuple[tuple[str, str], ...] = ()


def look_in(connect: libvirt.virConnect, images: Images, folder: Path) -> Folder:
    """Read the header of each image in a folder of this computer.

    libvirt, which may read more, is asked for those that may not be read here.
    """
    try:
        with os.scandir(folder) as entries:
            files = [entry.path for entry in entries if _is_file(entry)]
    except (FileNotFoundError, NotADirectoryError):
        return Folder()
    except OSError as error:
        return _by_libvirt(connect, images, folder, f"it cannot be listed: {error.strerror}")
    bases: list[tuple[str, str]] = []
    unread: dict[str, str] = {}
    for path in files[:_MOST_IMAGES]:
        try:
            bases += [(path, base.source) for base in bases_of(Path(path))]
        except DiskError as error:
            if error.code not in NO_IMAGE:
                unread[path] = error.sentence
    if len(files) > _MOST_IMAGES:
        unread[str(folder)] = f"only {_MOST_IMAGES} of its {len(files)} files were looked at"
    known = (_volumes(connect, images, folder) or {}) if unread else {}
    bases += [(path, base) for path in unread for base in known.get(path) or ()]
    unseen = tuple((path, why) for path, why in unread.items() if known.get(path) is None)
    return Folder(bases=tuple(bases), unseen=unseen)


def folders_in(folder: Path) -> Iterator[Path]:
    """The folders right below one: images are often kept in one for each machine."""
    try:
        with os.scandir(folder) as entries:
            yield from [
                Path(entry.path)
                for entry in entries
                if entry.is_dir(follow_symlinks=False) and entry.name not in _NO_FOLDERS
            ]
    except OSError:
        return


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        # A link to where this user may not look: opening it says so.
        return True


def _by_libvirt(connect: libvirt.virConnect, images: Images, folder: Path, why: str) -> Folder:
    known = _volumes(connect, images, folder)
    if known is None:
        return Folder(unseen=((str(folder), why),))
    return Folder(
        bases=tuple((path, base) for path, bases in known.items() for base in bases or ()),
        unseen=tuple((path, _NOT_READ) for path, bases in known.items() if bases is None),
    )


def _volumes(
    connect: libvirt.virConnect, images: Images, folder: Path
) -> Mapping[str, Sequence[str] | None] | None:
    """What libvirt sees in a folder; ``None`` where it cannot look either."""
    try:
        return images.seen_by_libvirt(connect, folder) if images.has_pools else None
    except libvirt.libvirtError:
        return None
