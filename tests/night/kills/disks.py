"""Disks on every storage that an ordinary user can have, which can be made to fail."""

from __future__ import annotations

import dataclasses
import random
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import libvirt

from tests.disks.images import make_image
from tests.night.kills.trial import digest, kill_processes

_MIB = 1 << 20
_SIZE_MIB = 32
_STARTS_S = 20.0


@dataclasses.dataclass(frozen=True)
class Pattern:
    """One byte, written over a part of a disk."""

    byte: int
    offset: int
    length: int

    @classmethod
    def any(cls, chance: random.Random) -> Pattern:
        """Up to six mebibytes anywhere."""
        start, count = chance.randrange(0, _SIZE_MIB - 6), chance.randint(1, 6)
        return cls(chance.randint(1, 255), start * _MIB, count * _MIB)

    @property
    def command(self) -> str:
        """As ``qemu-io`` takes it."""
        return f"write -P {self.byte} {self.offset} {self.length}"


def run(*command: str | Path) -> None:
    """Run a program to its end."""
    done = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True, timeout=60)
    if done.returncode or "rror" in done.stderr:
        raise AssertionError(f"{command}: {done.stdout}{done.stderr}")


class Disk:
    """A disk of a trial: what was in it, what an update writes to it, and the undo disk to be put over it."""

    FORMAT: ClassVar[str] = "qcow2"
    #: The embedded driver has no pools and no secrets.
    NEEDS_DAEMON: ClassVar[bool] = False

    def __init__(self, directory: Path, target: str) -> None:
        self.directory = directory
        self.target = target
        self.path = directory / f"{target}.{self.FORMAT}"
        self.overlay = directory / f"m.{target}.innkeeper-7.qcow2"
        self.contents: Sequence[Pattern] = ()
        self.updates: Sequence[Pattern] = ()

    @property
    def base(self) -> str:
        """The image below the undo disk, as the service calls it."""
        return str(self.path)

    @property
    def base_image(self) -> str:
        """The same, as QEMU's tools open it."""
        return str(self.path)

    @property
    def merged_into(self) -> Sequence[str]:
        """The files that keeping writes to."""
        return [str(self.path)]

    def make(self, chance: random.Random) -> None:
        """Make it, with something in it."""
        self.contents = [Pattern.any(chance) for _ in range(3)]
        self.updates = [Pattern.any(chance) for _ in range(chance.randint(1, 4))]
        self.make_empty()
        for pattern in self.contents:
            run("qemu-io", *self._opened(self.path), "-c", pattern.command)

    def make_empty(self) -> None:
        """Make it, with nothing in it."""
        run("qemu-img", "create", "-q", "-f", self.FORMAT, self.path, f"{_SIZE_MIB}M")

    def write(self, pattern: Pattern) -> None:
        """Write to the undo disk of a machine that is off."""
        run("qemu-io", *self._opened(self.overlay), "-c", pattern.command, "-c", "flush")

    def prepare(self, connect: libvirt.virConnect) -> None:
        """Have on the host what the definition names."""

    def _opened(self, image: Path) -> Sequence[str | Path]:
        """How QEMU's tools open it."""
        return ("-f", "qcow2" if image == self.overlay else self.FORMAT, image)

    def definition(self) -> str:
        """The ``<disk>``."""
        return (
            f"<disk type='file' device='disk'><driver name='qemu' type='{self.FORMAT}'/>"
            f"<source file='{self.path}'/><target dev='{self.target}' bus='virtio'/></disk>"
        )

    def sums(self) -> Mapping[str, str]:
        """The content of every file of it, byte for byte."""
        return {str(self.path): digest(self.path)}

    def wrong(self, image: str, updates: Sequence[Pattern]) -> list[str]:
        """What a guest would not read as it should, through the whole chain."""
        raw = self.directory / f"{self.target}.read"
        try:
            run("qemu-img", "convert", "-q", "-U", "-O", "raw", *self._opened(Path(image)), raw)
            return [] if raw.read_bytes() == self._expected(updates) else [f"{image} holds something else"]
        except AssertionError as error:
            return [f"{image} cannot be read: {error}"]
        finally:
            raw.unlink(missing_ok=True)

    def _expected(self, updates: Sequence[Pattern]) -> bytes:
        content = bytearray(_SIZE_MIB * _MIB)
        for pattern in (*self.contents, *updates):
            content[pattern.offset : pattern.offset + pattern.length] = bytes([pattern.byte]) * pattern.length
        return bytes(content)

    @property
    def failures(self) -> Sequence[str]:
        """How its storage may fail."""
        return ()

    def fail(self, how: str) -> bool:
        """Let the storage fail; says whether it did."""
        return False

    def heal(self) -> None:
        """Let the storage work again."""

    def end(self) -> None:
        """End whatever serves it."""


class Qcow2(Disk):
    """A qcow2 file."""


class Raw(Disk):
    """A raw file."""

    FORMAT = "raw"


class LinkedClone(Disk):
    """A qcow2 file over a golden image, which nothing may ever write to."""

    @property
    def _golden(self) -> Path:
        return self.directory / f"{self.target}.golden"

    def make_empty(self) -> None:
        """Make both."""
        run("qemu-img", "create", "-q", "-f", "raw", self._golden, f"{_SIZE_MIB}M")
        run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", self._golden, self.path)

    def sums(self) -> Mapping[str, str]:
        """The content of both files, byte for byte."""
        return {str(path): digest(path) for path in (self.path, self._golden)}


class Volume(Disk):
    """A volume of a pool that is a folder."""

    NEEDS_DAEMON = True

    def __init__(self, directory: Path, target: str) -> None:
        super().__init__(directory, target)
        self._pool = directory / "pool"
        self.path = self._pool / f"{target}.qcow2"

    @property
    def base(self) -> str:
        """As the service calls it."""
        return f"people/{self.path.name}"

    def make_empty(self) -> None:
        """Make the folder, too."""
        self._pool.mkdir()
        super().make_empty()

    def prepare(self, connect: libvirt.virConnect) -> None:
        """Have the pool."""
        pool = f"<pool type='dir'><name>people</name><target><path>{self._pool}</path></target></pool>"
        connect.storagePoolDefineXML(pool)
        connect.storagePoolLookupByName("people").setAutostart(1)
        connect.storagePoolLookupByName("people").create()

    def definition(self) -> str:
        """The ``<disk>``."""
        return (
            "<disk type='volume' device='disk'><driver name='qemu' type='qcow2'/>"
            f"<source pool='people' volume='{self.path.name}'/>"
            f"<target dev='{self.target}' bus='virtio'/></disk>"
        )


class Luks(Disk):
    """A qcow2 file that is encrypted with a secret of libvirt's, which may be a private one."""

    NEEDS_DAEMON = True

    def __init__(self, directory: Path, target: str) -> None:
        super().__init__(directory, target)
        self._key = directory / "key"
        self._private = "no"

    def make(self, chance: random.Random) -> None:
        """Make it, and the passphrase."""
        self._private = chance.choice(("no", "yes"))
        super().make(chance)

    def make_empty(self) -> None:
        """Make it, with nothing in it."""
        self._key.write_bytes(_PASSPHRASE)
        options = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"
        size = f"{_SIZE_MIB}M"
        make_image(*self._secret, "-f", "qcow2", "-o", options, self.path, size)

    def prepare(self, connect: libvirt.virConnect) -> None:
        """Have the secret."""
        secret = f"<secret ephemeral='no' private='{self._private}'><uuid>{_SECRET}</uuid></secret>"
        connect.secretDefineXML(secret).setValue(_PASSPHRASE)

    def definition(self) -> str:
        """The ``<disk>``."""
        secret = f"<encryption format='luks'><secret type='passphrase' uuid='{_SECRET}'/></encryption>"
        return super().definition().replace(f"'{self.path}'/>", f"'{self.path}'>{secret}</source>")

    @property
    def _secret(self) -> Sequence[str]:
        return ("--object", f"secret,id=s,file={self._key}")

    def _opened(self, image: Path) -> Sequence[str | Path]:
        """With the secret."""
        base = f"driver=qcow2,encrypt.key-secret=s,file.filename={self.path}"
        if image == self.path:
            return (*self._secret, "--image-opts", base)
        below = ",".join(f"backing.{each}" for each in base.split(","))
        overlay = f"driver=qcow2,encrypt.key-secret=s,file.filename={image}"
        return (*self._secret, "--image-opts", f"{overlay},{below}")


_PASSPHRASE = b"correct horse"
_SECRET = "5d0e5a36-6b5d-4f9b-8a0a-55b5c5f5d9a1"


class Nbd(Disk):
    """A network disk, whose server may die, give errors and run full."""

    FORMAT = "raw"

    def __init__(self, directory: Path, target: str) -> None:
        super().__init__(directory, target)
        self._socket = directory / f"{target}.socket"
        self._error = "EIO"
        self._delay_ms = 0

    @property
    def base(self) -> str:
        """As the service calls it."""
        return f"nbd+unix:///base?socket={self._socket}"

    def make(self, chance: random.Random) -> None:
        """Make the file, and serve it."""
        super().make(chance)
        self._error = chance.choice(("EIO", "ENOSPC"))
        self._delay_ms = chance.choice((0, 5, 20))
        self.heal()

    def definition(self) -> str:
        """The ``<disk>``."""
        return (
            "<disk type='network' device='disk'><driver name='qemu' type='raw'/>"
            f"<source protocol='nbd' name='base'><host transport='unix' socket='{self._socket}'/></source>"
            f"<target dev='{self.target}' bus='virtio'/></disk>"
        )

    @property
    def failures(self) -> Sequence[str]:
        """How its storage may fail."""
        return ("NBD server", self._error)

    def fail(self, how: str) -> bool:
        """Kill the server, or let every write give an error."""
        if how == "NBD server":
            return kill_processes(self.directory, "nbdkit")
        self._switch.touch()
        return True

    def heal(self) -> None:
        """Give no more errors, and have a server."""
        self._switch.unlink(missing_ok=True)
        if self._answers():
            return
        pid = self.directory / f"{self.target}.pid"
        pid.unlink(missing_ok=True)
        self._socket.unlink(missing_ok=True)
        run(
            "nbdkit", "-U", self._socket, "-P", pid, "--filter=error", "--filter=delay", "file", self.path,
            f"wdelay={self._delay_ms}ms", f"error-pwrite={self._error}", "error-pwrite-rate=100%",
            f"error-pwrite-file={self._switch}",
        )  # fmt: skip
        end = time.monotonic() + _STARTS_S
        while not pid.exists() and time.monotonic() < end:
            time.sleep(0.01)

    def end(self) -> None:
        """End the server."""
        kill_processes(self.directory, "nbdkit")

    def _answers(self) -> bool:
        """Whether a server takes connections: one that is being killed has a process for a moment more."""
        with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_STARTS_S)
            connection.connect(str(self._socket))
            return connection.recv(8) == b"NBDMAGIC"
        return False

    @property
    def _switch(self) -> Path:
        """The file that lets every write fail."""
        return self.directory / f"{self.target}.fails"


STORAGES: Mapping[str, type[Disk]] = {
    "raw": Raw,
    "qcow2": Qcow2,
    "linked clone": LinkedClone,
    "NBD": Nbd,
    "volume": Volume,
    "LUKS": Luks,
}
