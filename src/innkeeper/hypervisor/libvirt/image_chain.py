"""Images that stand on one another, described to the end: for QEMU to open, and nothing else with them."""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from innkeeper.disks.confined.reach import Sockets
from innkeeper.wire.events import Json

#: QEMU's formats whose images may stand on others, and those that stand alone.
OVERLAYS = frozenset({"qcow2"})
ALONE = frozenset({"raw", "luks", "vpc", "vhdx", "vdi"})
#: How long QEMU tries to reach a server, and to reach one again that it has lost.
_CONNECT_SECONDS = 10


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LocalImage:
    """A file or a block device of this computer."""

    path: str

    @property
    def name(self) -> str:
        """What the image is called in sentences."""
        return self.path

    def options(self) -> Mapping[str, Json]:
        """QEMU's description of where the bytes are."""
        is_device = stat.S_ISBLK(Path(self.path).stat().st_mode)
        return {"driver": "host_device" if is_device else "file", "filename": self.path}

    @property
    def sockets(self) -> Sockets:
        """The sockets that are needed to reach it."""
        return Sockets.NONE

    def is_open_to_us(self, *, writable: bool) -> bool:
        """Whether this user may read it, and write it."""
        return os.access(self.path, os.R_OK | (os.W_OK if writable else 0))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class NbdExport:
    """What a server offers by NBD."""

    #: The export's name.
    export: str
    #: The server's socket on this computer, or empty.
    socket: str = ""
    #: The server's computer and port, where it is not on this one.
    host: str = ""
    port: int = 10809

    @property
    def name(self) -> str:
        """What the image is called in sentences."""
        return f"nbd:{self.socket or f'{self.host}:{self.port}'}/{self.export}"

    def options(self) -> Mapping[str, Json]:
        """QEMU's description of where the bytes are."""
        server: dict[str, Json] = {"type": "unix", "path": self.socket}
        if not self.socket:
            server = {"type": "inet", "host": self.host, "port": str(self.port)}
        return {
            "driver": "nbd",
            "export": self.export,
            "server": server,
            "open-timeout": _CONNECT_SECONDS,
            "reconnect-delay": _CONNECT_SECONDS,
        }

    @property
    def sockets(self) -> Sockets:
        """The sockets that are needed to reach it."""
        return Sockets.LOCAL if self.socket else Sockets.ANY

    def is_open_to_us(self, *, writable: bool) -> bool:
        """True: the server says what it allows when it is asked."""
        return True


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ImageNode:
    """One image of a chain."""

    storage: LocalImage | NbdExport
    #: QEMU's name for the format.
    format: str
    #: The passphrase of an image that is encrypted by LUKS.
    secret: bytes | None = dataclasses.field(default=None, repr=False)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class ImageChain:
    """The images of one disk, from the one that takes the writes to the lowest."""

    nodes: tuple[ImageNode, ...]
    #: Whether what the guest has given up is given back to the host.
    discard: bool = False
    #: Whether the host's cache is passed by.
    direct: bool = False

    @property
    def is_open_to_us(self) -> bool:
        """Whether this user may open all of it, and write what a merge writes."""
        return all(
            node.storage.is_open_to_us(writable=depth < 2)  # the one that is merged, and what it stands on
            for depth, node in enumerate(self.nodes)
        )
