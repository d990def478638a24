"""Say where the demo keeps what it makes."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

#: libvirt puts sockets 67 bytes and more below its root, and a socket's path ends at 107.
_LONGEST_HOME = 28


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """The demo's own directory: all of a run lies in it, and nothing of it elsewhere but the cached image."""

    root: Path

    @property
    def machines(self) -> Path:
        """Disks, definitions and console logs."""
        return self.root / "machines"

    @property
    def hypervisor(self) -> Path:
        """The root of libvirt's embedded driver."""
        return self.root / "hv"

    @property
    def uri(self) -> str:
        """The hypervisor as libvirt names it."""
        return f"qemu:///embed?root={self.hypervisor}"

    @property
    def state(self) -> Path:
        """The state directory of the service."""
        return self.root / "state"

    @property
    def socket(self) -> Path:
        """The service's door."""
        return self.root / "door"

    @property
    def service_log(self) -> Path:
        """What the service says."""
        return self.root / "service.log"

    @property
    def settings(self) -> Path:
        """The service's settings file."""
        return self.root / "innkeeper.toml"

    def clear(self) -> None:
        """Begin anew."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir(mode=0o700)
        self.state.mkdir()


def demo_place() -> Place:
    """Below the home directory where its path is short enough for libvirt's sockets, else below /var/tmp."""
    home = Path.home()
    if len(os.fsencode(home)) <= _LONGEST_HOME:
        return Place(root=home / ".inn-demo")
    return Place(root=Path(f"/var/tmp/inn-demo-{os.getuid()}"))  # noqa: S108  made 0700 and by us alone


def image_cache() -> Path:
    """Where guest images are kept from one run to the next."""
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "innkeeper"
