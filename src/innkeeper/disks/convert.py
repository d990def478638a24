"""Write a disk to a new image of another kind (``IVMHardDisk::Convert`` and ``MergeTo``).

VHD and raw are made by the engine itself; the formats that are QEMU's own by ``qemu-img``, which then reads
or writes the VHD through an NBD export, as it misreads VHDs by itself.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from innkeeper.disks import qemu_img
from innkeeper.disks.chain import Chain, open_chain
from innkeeper.disks.copy import RawTarget, copy_disk
from innkeeper.disks.create import check_size, format_dynamic, format_fixed
from innkeeper.disks.draft import Draft
from innkeeper.disks.file import ImageFile
from innkeeper.disks.footer import Footer
from innkeeper.disks.formats import format_of
from innkeeper.disks.geometry import SECTOR
from innkeeper.disks.image import Image
from innkeeper.disks.kind import Kind
from innkeeper.disks.nbd.server import exported
from innkeeper.disks.paths import image_path, new_image_path
from innkeeper.disks.progress import UNWATCHED, Watch
from innkeeper.disks.raw import open_raw
from innkeeper.errors import InvalidArgument


def convert(
    source: str | os.PathLike[str],
    path: str | os.PathLike[str],
    kind: Kind,
    *,
    source_kind: Kind | None = None,
    watch: Watch = UNWATCHED,
    durable: bool = True,
    ignore_parent_time: bool = False,
) -> Path:
    """Convert any supported image; returns the new image's absolute path.

    A raw image has no mark that tells it, and a guest can write the marks of another format into one: so
    raw is never guessed, and where two readings are possible ``source_kind`` is needed. A disk whose parent
    has another time than the recorded one is refused, unless ``ignore_parent_time``.
    """
    source_path = image_path(source)
    found = source_kind or _kind_of(source_path)
    if found is Kind.RAW and (kind.is_vhd or kind is Kind.RAW):
        with contextlib.closing(open_raw(source_path)) as chain:
            return convert_chain(chain, path, kind, watch=watch, durable=durable)
    if found.is_vhd:
        opened = open_chain(source_path, ignore_parent_time=ignore_parent_time, is_known=True)
        with contextlib.closing(opened) as chain:
            return convert_chain(chain, path, kind, watch=watch, durable=durable)
    if kind.is_vhd:
        return _import(source_path, found, path, kind, watch=watch, durable=durable)
    return qemu_img.convert(source_path, found, new_image_path(path), kind, watch=watch)


def convert_chain(
    chain: Chain, path: str | os.PathLike[str], kind: Kind, *, watch: Watch = UNWATCHED, durable: bool = True
) -> Path:
    """Write an open disk, parents and all, to a new image; the source is left as it is."""
    _check_target(kind)
    if not kind.is_vhd and kind is not Kind.RAW:
        target = new_image_path(path)
        with exported(chain) as url:
            return qemu_img.convert_url(url, chain.size_bytes, target, kind, watch=watch)
    with Draft(path) as draft:
        draft.file.will_be_synced = durable
        if kind is Kind.DYNAMIC:
            image = _dynamic(draft.file, chain.size_bytes)
            copy_disk(chain, image, watch)
            image.write_maps()
        else:
            _flat(draft.file, chain.size_bytes, kind, watch)
            copy_disk(chain, RawTarget(draft.file), watch)
        draft.publish(durable=durable, watch=watch)
        return draft.path


def _dynamic(file: ImageFile, size_bytes: int) -> Image:
    check_size(file.path, size_bytes)
    format_dynamic(file, Footer.new(Kind.DYNAMIC, size_bytes))
    image = Image(file)
    image.is_draft = True
    return image


def _flat(file: ImageFile, size_bytes: int, kind: Kind, watch: Watch) -> None:
    if kind is Kind.RAW:
        file.truncate(size_bytes)
    else:
        check_size(file.path, size_bytes)
        format_fixed(file, Footer.new(Kind.FIXED, size_bytes), watch)


def _import(
    source: Path, found: Kind, path: str | os.PathLike[str], kind: Kind, *, watch: Watch, durable: bool
) -> Path:
    """Convert an image of QEMU's formats into a new VHD by ``qemu-img``."""
    _check_target(kind)
    with qemu_img.Source.open(source, found) as opened, Draft(path) as draft:
        size = -(-opened.virtual_size // SECTOR) * SECTOR
        if kind is Kind.DYNAMIC:
            image = _dynamic(draft.file, size)
        else:
            _flat(draft.file, size, kind, watch)
            image = Image(draft.file)
        with exported(Chain([image]), writable=True) as url:
            qemu_img.convert_into_url(opened, url, watch=watch)
        image.flush()
        draft.publish(durable=durable, watch=watch)
        return draft.path


def _check_target(kind: Kind) -> None:
    if kind is Kind.DIFFERENCING:
        raise InvalidArgument(
            "A disk is not converted to a differencing one.",
            advice="Create a differencing disk over it: innkeeper disk create NEW --parent DISK",
        )


def _kind_of(path: Path) -> Kind:
    with ImageFile.open(path) as file:
        return format_of(file)
