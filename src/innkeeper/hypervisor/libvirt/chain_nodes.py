"""Open a chain of images in a storage daemon, node by node, with every option said."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from innkeeper.disks.confined.reach import Reach, Sockets
from innkeeper.disks.qemu_program import LOOK
from innkeeper.disks.storage_daemon import StorageDaemon
from innkeeper.errors import DiskError
from innkeeper.hypervisor.libvirt.image_chain import OVERLAYS, ImageChain, ImageNode, LocalImage
from innkeeper.wire.events import Json
from innkeeper.wire.json_fields import JsonObject, as_object, get_bool, get_int, get_list, get_object, get_str

#: The image that is merged, and the one that it is merged into.
TOP, BASE = "image-0", "image-1"


class Undescribed(DiskError):
    """The chain is longer, or needs more, than was said of it. Nothing was written."""


class OpenChain:
    """A chain whose images a daemon has open, all of them for reading at first."""

    def __init__(self, daemon: StorageDaemon, chain: ImageChain) -> None:
        self._daemon = daemon
        self._chain = chain
        for depth in reversed(range(len(chain.nodes))):
            self._open(depth)
        self._refuse_more()

    @property
    def daemon(self) -> StorageDaemon:
        """The daemon that has the images open."""
        return self._daemon

    def reopen(self, name: str, *, writable: bool) -> None:
        """Open the image of a node for writing, or for reading alone, which stores what it had to store."""
        depth = int(name.rpartition("-")[2])
        options = {**self._options(depth), "read-only": not writable}
        self._daemon.execute("blockdev-reopen", {"options": [options]})

    def bitmaps(self, name: str) -> Mapping[str, Bitmap]:
        """The bitmaps that an image keeps, by name."""
        found = self._daemon.nodes()[name]
        bitmaps = get_list(found, "dirty-bitmaps", as_object) if "dirty-bitmaps" in found else ()
        return {get_str(each, "name"): Bitmap(each) for each in bitmaps if get_bool(each, "persistent")}

    def _open(self, depth: int) -> None:
        node = self._chain.nodes[depth]
        if node.secret is not None:
            self._daemon.add_secret(_key(depth), node.secret)
        storage = {
            **node.storage.options(),
            "node-name": _storage(depth),
            "discard": "unmap",
            # Opened for writing when it is to be written, and not before.
            "auto-read-only": True,
            "cache": {"direct": self._chain.direct},
        }
        try:
            self._daemon.execute("blockdev-add", storage)
            self._daemon.execute("blockdev-add", {**self._options(depth), "read-only": True})
        except DiskError as error:
            if "key-secret" in error.sentence:
                raise self._undescribed(node, "it is encrypted, and no secret is known for it") from error
            raise

    def _options(self, depth: int) -> dict[str, Json]:
        """QEMU's description of the format, and of what the image stands on."""
        node = self._chain.nodes[depth]
        options: dict[str, Json] = {
            "driver": node.format,
            "node-name": f"image-{depth}",
            "file": _storage(depth),
            "discard": "unmap" if self._chain.discard else "ignore",
        }
        if node.format in OVERLAYS:
            options["backing"] = f"image-{depth + 1}" if depth + 1 < len(self._chain.nodes) else None
        if node.secret is not None and node.format == "luks":
            options["key-secret"] = _key(depth)
        elif node.secret is not None:
            options["encrypt"] = {"format": "luks", "key-secret": _key(depth)}
        return options

    def _refuse_more(self) -> None:
        """Refuse a lowest image that stands on another: read alone, it would have holes of zeros."""
        lowest = len(self._chain.nodes) - 1
        image = get_object(self._daemon.nodes()[f"image-{lowest}"], "image")
        if "backing-filename" in image:
            named = get_str(image, "backing-filename")
            raise self._undescribed(
                self._chain.nodes[lowest], f"it stands on {named}, which is not described"
            )

    def _undescribed(self, node: ImageNode, why: str) -> Undescribed:
        return Undescribed(f"{node.storage.name}: {why}.", path=node.storage.name)


class Bitmap:
    """A bitmap of an image: what has changed since a moment, for incremental backups."""

    def __init__(self, description: JsonObject) -> None:
        self.name = get_str(description, "name")
        self.granularity = get_int(description, "granularity")
        self.is_recording = get_bool(description, "recording")
        #: Whether it is of no use: a program that was killed had the image open.
        self.is_broken = "inconsistent" in description and get_bool(description, "inconsistent")


def _storage(depth: int) -> str:
    return f"storage-{depth}"


def _key(depth: int) -> str:
    return f"key-{depth}"


def reach_of(chain: ImageChain) -> Reach:
    """What a daemon needs for a chain: a merge writes the first two of its images."""
    sockets = {node.storage.sockets for node in chain.nodes}
    local = [
        (Path(node.storage.path), depth < 2)
        for depth, node in enumerate(chain.nodes)
        if isinstance(node.storage, LocalImage)
    ]
    return Reach(
        reads=[path for path, _ in local],
        writes=[path for path, is_written in local if is_written],
        sockets=next(each for each in (Sockets.ANY, Sockets.LOCAL, Sockets.NONE) if each in sockets),
    )


def size_of(image: ImageNode) -> int:
    """The bytes that a guest sees of an image that stands alone, wherever it is; raises ``DiskError``."""
    chain = ImageChain(nodes=(image,))
    with StorageDaemon.started(Path(image.storage.name), LOOK, reach=reach_of(chain)) as daemon:
        OpenChain(daemon, chain)
        return get_int(get_object(daemon.nodes()[TOP], "image"), "virtual-size")
