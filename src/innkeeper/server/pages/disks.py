"""A machine's disk chains as trees."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from innkeeper.wire.chains import BackingMessage, DiskChainMessage
from innkeeper.wire.messages import DiskMessage


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """One image of a chain."""

    name: str
    path: str
    #: The name inside the machine's definition; empty for what lies below.
    target: str
    #: What kind of image it is, for a person.
    about: str
    is_undo: bool
    parent: Node | None = None


def trees(disks: Iterable[DiskMessage], chains: Iterable[DiskChainMessage]) -> Sequence[Node]:
    """Return a tree for each disk: its image, and below it the images it is based on."""
    below = {chain.target: chain.images for chain in chains}
    return [_node(disk, below.get(disk.target, ())) for disk in disks]


def _node(disk: DiskMessage, images: Sequence[BackingMessage]) -> Node:
    parent: Node | None = None
    for image in reversed(images[1:]):
        parent = Node(
            name=PurePosixPath(image.path).name,
            path=image.path,
            target="",
            about=_about_undo(image),
            is_undo=image.undo_run is not None,
            parent=parent,
        )
    top = images[0] if images else None
    return Node(
        name=PurePosixPath(disk.path).name or "empty",
        path=disk.path,
        target=disk.target,
        about=", ".join(filter(None, (*_about(disk), _about_undo(top)))),
        is_undo=top is not None and top.undo_run is not None,
        parent=parent,
    )


def _about(disk: DiskMessage) -> Iterable[str]:
    yield disk.format or disk.kind
    if disk.device != "disk":
        yield disk.device
    if disk.read_only:
        yield "read only"
    if disk.shared:
        yield "shared"


def _about_undo(image: BackingMessage | None) -> str:
    return f"of task {image.undo_run}" if image is not None and image.undo_run is not None else ""
