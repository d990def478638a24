"""Describe an image and its chain."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import os
import re
import uuid
from pathlib import Path

from innkeeper.disks import qemu_img
from innkeeper.disks.chain import open_chain
from innkeeper.disks.file import ImageFile
from innkeeper.disks.footer import EPOCH
from innkeeper.disks.formats import format_of
from innkeeper.disks.image import Image
from innkeeper.disks.kind import Kind
from innkeeper.disks.layout import find_footer, read_layout
from innkeeper.disks.oserror import adapted
from innkeeper.disks.paths import image_path
from innkeeper.errors import DiskError, ErrorCode


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class DiskFacts:
    """The description of one image."""

    file: Path
    kind: Kind
    size_in_guest: int
    #: The file's length, and the room it really takes.
    size_on_host: int
    allocated_on_host: int
    host_free_disk_space: int
    #: Its identity, which its children name, and its birth; ``None`` for other formats than VHD.
    unique_id: uuid.UUID | None
    created_at: dt.datetime | None
    #: The four letters of the program that made it.
    creator: str
    #: 0 for a fixed disk.
    block_bytes: int
    blocks_present: int
    #: Where the parent was found; ``None`` where there is none, or where it is not found.
    parent: Path | None = None
    #: What was wrong and could be worked around, or keeps the parent from being used.
    warnings: tuple[str, ...] = ()


def describe(path: str | os.PathLike[str]) -> list[DiskFacts]:
    """Describe an image and, as far as they are found, its parents; the image first.

    A parent that is missing or unfit is a warning here, as this is how one finds out.
    """
    target = image_path(path)
    try:
        return _described(target, held=True)
    except DiskError as exc:
        if exc.code is not ErrorCode.ERROR_SHARING_VIOLATION:
            raise
        found = _described(target, held=False)
        in_use = "It is in use: what is told here may be changing."
        return [dataclasses.replace(found[0], warnings=(*found[0].warnings, in_use)), *found[1:]]


def peek(path: str | os.PathLike[str]) -> tuple[Kind | None, int]:
    """Look at a VHD that may be in use: its kind and its size in the guest; ``None`` where it is none."""
    with ImageFile.open(image_path(path), held=False) as file:
        if find_footer(file) is None:
            return None, 0
        layout = read_layout(file)
        return layout.kind, layout.size_bytes


def _described(target: Path, *, held: bool) -> list[DiskFacts]:
    with ImageFile.open(target, held=held) as file:
        kind = format_of(file)
        if not kind.is_vhd:
            return [_foreign(file, kind)]
    with contextlib.suppress(DiskError), contextlib.closing(open_chain(target, held=held)) as chain:
        parents = [image.file.path for image in chain.layers[1:]]
        return [
            _facts(image, parent, ()) for image, parent in zip(chain.layers, [*parents, None], strict=True)
        ]
    with ImageFile.open(target, held=held) as file:
        return [_facts(image := Image(file), None, _in_the_way(image, held=held))]


def _in_the_way(image: Image, *, held: bool) -> tuple[str, ...]:
    """The reason why the parent cannot be used."""
    try:
        open_chain(image.file.path, held=held).close()
    except DiskError as exc:
        return (f"{exc} {exc.advice}".strip(),)
    return ()


def _facts(image: Image, parent: Path | None, warnings: tuple[str, ...]) -> DiskFacts:
    file, footer = image.file, image.layout.footer
    status = file.status()
    lost = (f"{image.layout.lost_footer}.",) if image.layout.lost_footer else ()
    return DiskFacts(
        file=file.path,
        kind=image.kind,
        size_in_guest=image.size_bytes,
        size_on_host=status.st_size,
        allocated_on_host=status.st_blocks * 512,
        host_free_disk_space=_free(file.path),
        unique_id=footer.unique_id,
        created_at=dt.datetime.fromtimestamp(footer.timestamp + EPOCH, dt.UTC),
        creator=footer.creator.decode("latin-1").strip("\0 "),
        block_bytes=image.block_bytes if image.table is not None else 0,
        blocks_present=sum(1 for _ in image.table.present()) if image.table is not None else 0,
        parent=parent,
        warnings=lost + warnings,
    )


def _foreign(file: ImageFile, kind: Kind) -> DiskFacts:
    """Describe an image of a format that is QEMU's own."""
    message = qemu_img.look(file.path, kind)
    status = file.status()
    return DiskFacts(
        file=file.path,
        kind=kind,
        size_in_guest=message.virtual_size,
        size_on_host=status.st_size,
        allocated_on_host=status.st_blocks * 512,
        host_free_disk_space=_free(file.path),
        unique_id=None,
        created_at=None,
        creator="",
        block_bytes=message.cluster_bytes,
        blocks_present=0,
        parent=_named(file.path, message.named.backing),
        warnings=_found_beyond(message.named.backing),
    )


def _named(path: Path, backing: str) -> Path | None:
    """The file that an image names as its base, where it names one of this computer."""
    name = backing.removeprefix("file:")
    if not name or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", name):
        return None
    return Path(os.path.normpath(path.parent / name))


def _found_beyond(backing: str) -> tuple[str, ...]:
    return (f"It stands on {backing}, which was not looked at.",) if backing else ()


def _free(path: Path) -> int:
    with adapted(path):
        room = os.statvfs(path.parent)
    return room.f_bavail * room.f_frsize
