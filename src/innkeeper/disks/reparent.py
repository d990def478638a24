"""Set the place and time of a parent in its child (``IVMHardDisk::Parent``)."""

from __future__ import annotations

import contextlib
import dataclasses
import os

from innkeeper.disks import locator
from innkeeper.disks.chain import open_chain, parent_time
from innkeeper.disks.file import ImageFile
from innkeeper.disks.formats import refuse_unnamed
from innkeeper.disks.geometry import SECTOR
from innkeeper.disks.header import Header
from innkeeper.disks.image import Image
from innkeeper.disks.kind import Kind
from innkeeper.disks.paths import image_path
from innkeeper.errors import DiskError, ErrorCode


def reparent(
    path: str | os.PathLike[str], parent: str | os.PathLike[str], *, accept_other_id: bool = False
) -> None:
    """Set a child's parent: the same disk at another place, or with another time.

    Raises VM_E_PARENT_CHILD_ID_MISMATCH for another disk, unless ``accept_other_id`` says that its content
    is the same; VM_E_WRONG_HD_IMAGE_TYPE where the child is no differencing disk.
    """
    child_path = image_path(path)
    with (
        contextlib.closing(open_chain(image_path(parent))) as chain,
        ImageFile.open(child_path, writable=True) as file,
    ):
        refuse_unnamed(file)
        child = Image(file)
        _check_child(child, chain.top, accept_other_id=accept_other_id)
        if file.identity in {image.file.identity for image in chain.layers}:
            raise DiskError(
                f"{child_path}: a disk cannot be its own parent.",
                path=str(child_path),
                code=ErrorCode.VM_E_PARENT_CHILD_ID_MISMATCH,
                advice="Name another disk.",
            )
        point_to(child, chain.top)


def point_to(child: Image, parent: Image) -> None:
    """Write the parent's identity, time and paths into the child.

    The paths go into fresh room behind the last block before the header names them, so the old ones hold
    until then.
    """
    header = _header(child)
    at = -(-child.free_from // SECTOR) * SECTOR
    entries, data = locator.encode(child.file.path, parent.file.path, at)
    with child.room_until(at + len(data)):
        child.file.pwrite(data, at)
        child.file.sync()
    child.put_header(
        dataclasses.replace(
            header,
            parent_id=parent.layout.footer.unique_id,
            parent_timestamp=parent_time(parent.file),
            parent_name=parent.file.path.name,
            locators=entries,
        ),
    )


def stamp_parent(child: Image, parent: Image) -> None:
    """Accept the parent's modification time as it is now."""
    child.put_header(dataclasses.replace(_header(child), parent_timestamp=parent_time(parent.file)))


def _header(child: Image) -> Header:
    assert child.layout.header is not None, "a differencing disk has a header"
    return child.layout.header


def _check_child(child: Image, parent: Image, *, accept_other_id: bool) -> None:
    if child.kind is not Kind.DIFFERENCING:
        raise DiskError(
            f"{child.file.path}: only a differencing disk has a parent, and this one is {child.kind.value}.",
            path=str(child.file.path),
            code=ErrorCode.VM_E_WRONG_HD_IMAGE_TYPE,
            advice="Name a differencing disk.",
        )
    if not accept_other_id and _header(child).parent_id != parent.layout.footer.unique_id:
        raise DiskError(
            f"{parent.file.path}: it is not the disk that {child.file.path.name} was made from.",
            path=str(child.file.path),
            code=ErrorCode.VM_E_PARENT_CHILD_ID_MISMATCH,
            advice="Find the right parent, or say that the content is the same: --accept-other-id.",
        )
