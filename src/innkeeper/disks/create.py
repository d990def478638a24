"""Make new virtual hard disks (``IVMVirtualPC::Create…VirtualHardDisk``)."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from innkeeper.disks import locator
from innkeeper.disks.chain import Chain, open_chain, parent_time
from innkeeper.disks.draft import Draft
from innkeeper.disks.file import ImageFile
from innkeeper.disks.footer import FOOTER_BYTES, Footer
from innkeeper.disks.geometry import SECTOR
from innkeeper.disks.header import DEFAULT_BLOCK_BYTES, HEADER_BYTES, Header
from innkeeper.disks.image import Image
from innkeeper.disks.kind import Kind
from innkeeper.disks.layout import LARGEST_DISK, SMALLEST_DISK
from innkeeper.disks.paths import image_path
from innkeeper.disks.progress import UNWATCHED, Watch, stop_if_asked
from innkeeper.errors import DiskError, ErrorCode, InvalidArgument

TABLE_AT = FOOTER_BYTES + HEADER_BYTES
#: How much room is reserved at a time: small enough to hear a cancel soon.
ALLOCATED_AT_ONCE = 1 << 30


def create_dynamic(
    path: str | os.PathLike[str],
    size_bytes: int,
    *,
    block_bytes: int = DEFAULT_BLOCK_BYTES,
    durable: bool = True,
) -> Path:
    """Make a disk that grows as the guest writes; returns its absolute path."""
    with Draft(path) as draft:
        check_size(draft.path, size_bytes)
        format_dynamic(draft.file, Footer.new(Kind.DYNAMIC, size_bytes), block_bytes)
        draft.publish(durable=durable)
        return draft.path


def create_fixed(
    path: str | os.PathLike[str], size_bytes: int, *, watch: Watch = UNWATCHED, durable: bool = True
) -> Path:
    """Make a disk with all its room taken from the host now; returns its absolute path."""
    with Draft(path) as draft:
        check_size(draft.path, size_bytes)
        format_fixed(draft.file, Footer.new(Kind.FIXED, size_bytes), watch)
        draft.publish(durable=durable, watch=watch)
        return draft.path


def create_differencing(
    path: str | os.PathLike[str], parent: str | os.PathLike[str], *, durable: bool = True
) -> Path:
    """Make a disk that holds the difference to a parent; returns its absolute path."""
    base_path = image_path(parent)
    chain = _opened_parent(base_path)
    try:
        base = chain.top
        with Draft(path) as draft:
            block_bytes = base.block_bytes if base.table is not None else DEFAULT_BLOCK_BYTES
            format_differencing(draft.file, base, block_bytes)
            draft.publish(durable=durable)
            return draft.path
    finally:
        chain.close()


def _opened_parent(path: Path) -> Chain:
    """Open a parent that has all of its content itself: a child outlives a killed export's journal."""
    chain = open_chain(path)
    if not chain.top.was_left:
        return chain
    chain.close()
    open_chain(path, writable=True).close()
    return open_chain(path)


def check_size(path: Path, size_bytes: int) -> None:
    """Hold a new disk's size to the documented limits."""
    if size_bytes % SECTOR:
        raise InvalidArgument(f"A disk's size is a multiple of {SECTOR} bytes, and {size_bytes} is not.")
    if size_bytes > LARGEST_DISK:
        raise DiskError(
            f"{path.name}: a virtual hard disk has at most 2,088,960 MB.",
            path=str(path),
            code=ErrorCode.VM_E_IMAGE_SIZE_TOO_LARGE,
            advice="Choose a smaller size, or convert to VHDX or qcow2.",
        )
    if size_bytes < SMALLEST_DISK:
        raise DiskError(
            f"{path.name}: a virtual hard disk has at least 3 MB.",
            path=str(path),
            code=ErrorCode.VM_E_IMAGE_SIZE_TOO_SMALL,
            advice="Choose a larger size.",
        )


def format_fixed(file: ImageFile, footer: Footer, watch: Watch = UNWATCHED) -> None:
    """Write an empty fixed disk: its room first, so that a full host is met at once."""
    size = footer.current_size
    for done in range(0, size, ALLOCATED_AT_ONCE):
        stop_if_asked(watch, str(file.path))
        file.allocate(done, min(ALLOCATED_AT_ONCE, size - done))
        watch.advance("reserving", min(size, done + ALLOCATED_AT_ONCE), size)
    file.pwrite(footer.encode(), size)


def format_dynamic(file: ImageFile, footer: Footer, block_bytes: int = DEFAULT_BLOCK_BYTES) -> None:
    """Write an empty dynamic disk."""
    header = _new_header(footer, block_bytes)
    _write(file, footer, header, b"")


def format_differencing(file: ImageFile, parent: Image, block_bytes: int) -> None:
    """Write an empty differencing disk over ``parent``."""
    footer = Footer.new(Kind.DIFFERENCING, parent.size_bytes)
    header = _new_header(footer, block_bytes)
    entries, data = locator.encode(file.path, parent.file.path, TABLE_AT + header.table_bytes)
    header = dataclasses.replace(
        header,
        parent_id=parent.layout.footer.unique_id,
        parent_timestamp=parent_time(parent.file),
        parent_name=parent.file.path.name,
        locators=entries,
    )
    _write(file, footer, header, data)


def _new_header(footer: Footer, block_bytes: int) -> Header:
    return Header(
        table_offset=TABLE_AT, entries=-(-footer.current_size // block_bytes), block_bytes=block_bytes
    )


def _write(file: ImageFile, footer: Footer, header: Header, locators: bytes) -> None:
    table = b"\xff" * header.table_bytes
    start = footer.encode() + header.encode()
    file.pwrite(b"".join((start, table, locators, footer.encode())), 0)
