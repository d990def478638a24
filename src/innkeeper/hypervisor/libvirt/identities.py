"""The identity of a libvirt host: its firmware's UUID where that can be believed, and its driver.

Without firmware that has one, libvirtd makes up a UUID at each start, and poor firmware repeats that of
others. Such a UUID is not believed: the computer's machine id stands for it, or its name where that is all
that is seen.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pwd
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import libvirt
from lxml import etree

from innkeeper.hypervisor.libvirt import met_hosts
from innkeeper.hypervisor.libvirt.uris import HostUri
from innkeeper.machines.ports.identity import HostIdentity

_MACHINE_ID = Path("/etc/machine-id")
#: UUIDs that firmware of many computers has alike.
_REPEATED = frozenset(
    uuid.UUID(text)
    for text in (
        "03000200-0400-0500-0006-000700080009",
        "00020003-0004-0005-0006-000700080009",
        "12345678-1234-5678-90ab-cddeefaabbcc",
        "12345678-1234-1234-1234-123456789abc",
        "01234567-89ab-cdef-0123-456789abcdef",
        "11111111-2222-3333-4444-555555555555",
        "4c4c4544-0000-2010-8020-80c04f202020",
        "fefefefe-fefe-fefe-fefe-fefefefefefe",
    )
)
#: A UUID of fewer different bytes was never drawn.
_LEAST_BYTES = 4
#: Where an administrator gives a daemon its UUID.
_SETTINGS = ("libvirtd.conf", "virtqemud.conf")
_HOST_UUID = re.compile(r"^\s*host_uuid\s*=\s*[\"']([0-9A-Fa-f-]{32,36})[\"']", re.MULTILINE)


class LibvirtIdentity(HostIdentity):
    """The identity of one libvirt host, learned at each connection."""

    __slots__ = ("_noted", "_remembered", "_state_directory", "_uri")

    def __init__(self, uri: HostUri, state_directory: Path, *, known: str = "") -> None:
        """``known`` is the id by which a former life of the service met the host."""
        super().__init__(id=known)
        self._noted = self._remembered = known
        self._uri = uri
        self._state_directory = state_directory

    @property
    def is_remembered(self) -> bool:
        """Whether the host has not answered yet."""
        return bool(self._remembered)

    def learn(self, connect: libvirt.virConnect) -> None:
        """Find out who answers, and remember it. Blocks, and asks the daemon.

        An id that was known before stays, unless another computer proves to be there now.
        """
        # What a former life of the service knew is believed until the host answers: then it is met anew.
        self.id = self._found(connect, "" if self.id == self._remembered else self.id)
        self._remembered = ""
        if self.id != self._noted and self._uri.root is None and not self._uri.is_test:
            met_hosts.note(self._state_directory, self._uri.text, self.id)
            self._noted = self.id

    def _found(self, connect: libvirt.virConnect, known: str) -> str:
        way = _way(self._uri, self._state_directory)
        if self._uri.root is not None or self._uri.is_test:  # in this process, so on this computer
            return known or f"{_this_computer()}-{way}"
        said = _uuid_of(connect)
        if said is not None and _is_believed(said, connect, self._uri):
            return f"{said}-{way}" if not known or _is_proved(known) else known
        self.now = f"{said}-{_whose(self._uri)}" if said is not None and is_plausible(said) else ""
        return known or f"{_computer(self._uri)}-{way}"


def is_plausible(said: uuid.UUID) -> bool:
    """Whether a UUID can be that of one computer alone."""
    return said not in _REPEATED and len(set(said.bytes)) >= _LEAST_BYTES


def _is_proved(identity: str) -> bool:
    """Whether the id was made of a UUID that was believed: those have hyphens."""
    return re.match(r"[0-9a-f]{8}-[0-9a-f]{4}-", identity) is not None


def _is_believed(said: uuid.UUID, connect: libvirt.virConnect, uri: HostUri) -> bool:
    """Whether the UUID will be the same after the daemon's next start, and no other computer has it."""
    if not is_plausible(said):
        return False
    if said == _uuid_of_firmware(connect):
        return True
    return uri.is_local and said in {_uuid_or_none(_machine_id()), *_given(uri)}


def _uuid_of(connect: libvirt.virConnect) -> uuid.UUID | None:
    """What the daemon calls its host."""
    return _uuid_or_none(_text(connect.getCapabilities(), "host/uuid"))


def _uuid_of_firmware(connect: libvirt.virConnect) -> uuid.UUID | None:
    """What the computer's firmware is called; ``None`` where it has no name, or the daemon may not see it."""
    with contextlib.suppress(libvirt.libvirtError):
        return _uuid_or_none(_text(connect.getSysinfo(0), "system/entry[@name='uuid']"))
    return None


def _given(uri: HostUri) -> Iterator[uuid.UUID | None]:
    """The UUIDs that this computer's daemons were given by their settings."""
    configuration = os.environ.get("XDG_CONFIG_HOME") or f"{Path.home()}/.config"
    directory = Path("/etc/libvirt" if uri.is_system else f"{configuration}/libvirt")
    for name in _SETTINGS:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            yield from (_uuid_or_none(found) for found in _HOST_UUID.findall((directory / name).read_text()))


def _computer(uri: HostUri) -> str:
    """The computer of a host that no UUID tells: by its machine id, or from elsewhere by its name."""
    return uuid.uuid5(uuid.NAMESPACE_DNS, uri.host).hex if uri.host else _this_computer()


def _this_computer() -> str:
    return _machine_id() or uuid.uuid5(uuid.NAMESPACE_DNS, os.uname().nodename).hex


def _machine_id() -> str:
    with contextlib.suppress(OSError):
        return _MACHINE_ID.read_text().strip()
    return ""


def _way(uri: HostUri, state_directory: Path) -> str:
    """What tells the hosts of one computer apart: the driver, and whose it is."""
    parts = urlsplit(uri.text)
    driver = parts.scheme.partition("+")[0]
    if uri.root is not None:
        return f"{driver}-embed-{_short(os.path.realpath(uri.root))}"
    if uri.is_test:
        return f"{driver}-{_short(f'{state_directory} {uri.text}')}"
    socket = parse_qs(parts.query).get("socket", [""])[0]
    return f"{driver}-{_whose(uri)}" + (f"-{_short(socket)}" if socket else "")


def _whose(uri: HostUri) -> str:
    """Whose libvirt it is: the system's, or a user's."""
    parts = urlsplit(uri.text)
    return "session-" + (parts.username or _user()) if parts.path == "/session" else "system"


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _text(document: str, path: str) -> str:
    return etree.fromstring(document).findtext(path) or ""


def _uuid_or_none(text: str) -> uuid.UUID | None:
    with contextlib.suppress(ValueError):
        return uuid.UUID(text.strip())
    return None
