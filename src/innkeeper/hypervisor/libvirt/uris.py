"""Understand libvirt URIs, and choose one."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import threading
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import libvirt

from innkeeper.disks.short_socket_path import short_socket_path
from innkeeper.errors import InvalidArgument

SYSTEM_URI = "qemu:///system"
#: A local libvirtd answers in milliseconds, or does not.
_ANSWER_TIMEOUT_S = 5.0
#: libvirt puts a machine's sockets up to 81 bytes below an embedded root (``lib/qemu/channel/target/``, the
#: machine's number, the first 20 letters of its name, the port's name), and a socket's path ends at 107.
_LONGEST_ROOT = 26


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class HostUri:
    """Where a host's machines are, and where its files lie."""

    text: str
    #: Whether the host's files are this computer's files.
    is_local: bool
    #: libvirt's made-up machines, for tests.
    is_test: bool
    #: The directory of an embedded driver, or ``None``.
    root: Path | None
    #: Where libvirt keeps saved states, or ``None`` where that is not known from here.
    saved_directory: Path | None
    #: Where libvirt keeps definitions, or ``None`` where that is not known from here.
    definition_directory: Path | None = None

    @classmethod
    def parse(cls, text: str) -> HostUri:
        """Read a URI. Raises ``InvalidArgument`` for what no libvirt takes."""
        parts = urlsplit(text)
        driver, _, transport = parts.scheme.partition("+")
        if driver not in ("qemu", "test"):
            raise InvalidArgument(
                f"{text!r} is not a host that Innkeeper can use.",
                advice="Write qemu:///system, qemu:///session, qemu:///embed?root=… or qemu+ssh://HOST/system.",
            )
        roots = parse_qs(parts.query).get("root", [])
        root = Path(roots[0]) if parts.path == "/embed" and roots else None
        is_local = not parts.netloc and transport in ("", "unix")
        return cls(
            text=text,
            is_local=is_local and driver == "qemu",
            is_test=driver == "test",
            root=root,
            saved_directory=_saved_directory(parts.path, root, is_local=is_local),
            definition_directory=_definition_directory(
                parts.path, root, is_local=is_local and driver == "qemu"
            ),
        )

    @property
    def undo_directory(self) -> Path | None:
        """Where undo disks go whose disks lie in no folder; ``None`` where that is not known from here."""
        if self.root is not None:
            return self.root / "undo"
        path = urlsplit(self.text).path
        if path == "/system":
            return Path("/var/lib/libvirt/images")
        if path == "/session" and self.is_local:
            data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share"
            return Path(data) / "libvirt/images"
        return None

    @property
    def is_system(self) -> bool:
        """Whether the host is this computer's system libvirt, which runs QEMU as a user of its own."""
        return self.is_local and urlsplit(self.text).path == "/system"

    @property
    def host(self) -> str:
        """The other computer's name; empty for this one."""
        return urlsplit(self.text).hostname or ""

    @property
    def tpm_directory(self) -> Path | None:
        """Where libvirt keeps the state of software TPMs, or ``None`` where that is not known from here."""
        if self.saved_directory is None:
            return None
        qemu = self.saved_directory.parent
        return (qemu if urlsplit(self.text).path == "/session" else qemu.parent) / "swtpm"

    def definition_file(self, machine: str) -> Path | None:
        """The file that holds a machine's definition; ``None`` where it lies on another computer."""
        return None if self.definition_directory is None else self.definition_directory / f"{machine}.xml"

    def saved_image(self, machine: str) -> Path | None:
        """The file that holds a machine's saved state."""
        return None if self.saved_directory is None else self.saved_directory / f"{machine}.save"


def _definition_directory(path: str, root: Path | None, *, is_local: bool) -> Path | None:
    if not is_local:
        return None
    if root is not None:
        return root / "etc/qemu"
    if path == "/system":
        return Path("/etc/libvirt/qemu")
    if path == "/session":
        configuration = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
        return Path(configuration) / "libvirt/qemu"
    return None


def _saved_directory(path: str, root: Path | None, *, is_local: bool) -> Path | None:
    if root is not None:
        return root / "lib/qemu/save"
    if path == "/system":
        return Path("/var/lib/libvirt/qemu/save")
    if path == "/session" and is_local:
        configuration = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
        return Path(configuration) / "libvirt/qemu/save"
    return None


def embedded_root(state_directory: Path) -> Path:
    """Directory in which the embedded driver keeps its machines."""
    return state_directory / "hv"


def embedded_uri(root: Path) -> str:
    """The URI of the embedded driver in ``root``. Raises ``InvalidArgument`` where sockets would not fit."""
    return f"qemu:///embed?root={short_socket_path(root, _LONGEST_ROOT, letters=4)}"


async def choose_uri(state_directory: Path) -> str:
    """The default host: ``qemu:///system`` when libvirtd answers this user, else the embedded driver."""
    if await asyncio.to_thread(_answers, SYSTEM_URI):
        return SYSTEM_URI
    return embedded_uri(embedded_root(state_directory))


def _answers(uri: str) -> bool:
    answered = threading.Event()

    def knock() -> None:
        try:
            libvirt.open(uri).close()
        except libvirt.libvirtError:
            return
        answered.set()

    # A daemon that accepts and never answers must not hold the service: the thread is left behind.
    thread = threading.Thread(target=knock, name="libvirt-knock", daemon=True)
    thread.start()
    thread.join(_ANSWER_TIMEOUT_S)
    return answered.is_set()
