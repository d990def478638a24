"""A host is told by what stays the same, and by nothing that its libvirt makes up."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import cast

import libvirt
import pytest

from innkeeper.hypervisor.libvirt import met_hosts
from innkeeper.hypervisor.libvirt.identities import LibvirtIdentity, is_plausible
from innkeeper.hypervisor.libvirt.uris import HostUri
from innkeeper.hypervisor.simulated.host import simulated_host
from innkeeper.tasks.clock import FakeClock

_ONE, _TWO = str(uuid.UUID(int=0x1234_5678_9ABC << 64 | 77)), str(uuid.uuid4())


class Daemon:
    """What a libvirtd says of its computer; no computer of ours has firmware with a UUID."""

    def __init__(self, said: str, firmware: str = "") -> None:
        self._said = said
        self._firmware = firmware

    def getCapabilities(self) -> str:  # noqa: N802  as libvirt calls it
        """What it calls its host."""
        return f"<capabilities><host><uuid>{self._said}</uuid></host></capabilities>"

    def getSysinfo(self, _flags: int) -> str:  # noqa: N802  as libvirt calls it
        """What the firmware says."""
        if not self._firmware:
            raise libvirt.libvirtError("Host SMBIOS information is not available")
        return f"<sysinfo><system><entry name='uuid'>{self._firmware.upper()}</entry></system></sysinfo>"


def learn(identity: LibvirtIdentity, said: str, firmware: str = "") -> str:
    """The id after a connection to a daemon that says this."""
    identity.learn(cast(libvirt.virConnect, Daemon(said, firmware)))
    return identity.id


def identity_at(uri: str, directory: Path) -> LibvirtIdentity:
    """The identity of a host that has not been met."""
    return LibvirtIdentity(HostUri.parse(uri), directory)


def test_firmware_is_believed_from_wherever_it_is_seen(tmp_path: Path) -> None:
    """So two servers that reach one host by different addresses know it for one."""
    near = learn(identity_at("qemu:///system", tmp_path), _TWO, _TWO)
    far = learn(identity_at("qemu+ssh://attic/system", tmp_path), _TWO, _TWO)
    assert near == far == f"{_TWO}-qemu-system"
    assert learn(identity_at("qemu+ssh://ana@attic/session", tmp_path), _TWO, _TWO) != far


@pytest.mark.parametrize("uri", ["qemu:///system", "qemu+tls://attic/system"])
def test_a_uuid_that_is_made_up_at_each_start_is_not_believed(uri: str, tmp_path: Path) -> None:
    """The host is the same after its daemon's restart."""
    assert learn(identity_at(uri, tmp_path), _ONE) == learn(identity_at(uri, tmp_path), _TWO)


def test_another_computer_at_the_same_address_is_another_host(tmp_path: Path) -> None:
    """Where firmware proves it; no less than that changes an id."""
    identity = identity_at("qemu+ssh://attic/system", tmp_path)
    assert learn(identity, _ONE, _ONE).startswith(_ONE)
    assert learn(identity, _TWO).startswith(_ONE)
    assert learn(identity, _TWO, _TWO).startswith(_TWO)


@pytest.mark.parametrize(
    "repeated",
    [
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "03000200-0400-0500-0006-000700080009",
    ],
)
def test_a_uuid_that_poor_firmware_repeats_tells_no_host(repeated: str, tmp_path: Path) -> None:
    """Two computers that say the same are still two."""
    assert not is_plausible(uuid.UUID(repeated))
    attic, cellar = (identity_at(f"qemu+ssh://{name}/system", tmp_path) for name in ("attic", "cellar"))
    assert learn(attic, repeated, repeated) != learn(cellar, repeated, repeated)
    assert not attic.is_of(cellar)


async def test_a_simulated_host_keeps_its_id_in_its_directory(tmp_path: Path) -> None:
    """Another is another."""
    ids = []
    for name in ("attic", "attic", "cellar"):
        host = simulated_host(tmp_path / name, clock=FakeClock(), publish=lambda _event: None, name=name)
        await host.connection.open()
        ids.append(host.id)
    assert ids[0] == ids[1] != ids[2]


def test_what_a_former_life_knew_holds_until_the_host_says_otherwise(tmp_path: Path) -> None:
    """Known before it answers; a UUID that it was given since counts as at a first meeting."""
    uri = "qemu+tls://attic/system"
    first = learn(identity_at(uri, tmp_path), _ONE)
    assert met_hosts.id_of(tmp_path, uri) == first
    again = LibvirtIdentity(HostUri.parse(uri), tmp_path, known=first)
    assert again.id == first
    assert learn(again, _TWO, _TWO) == f"{_TWO}-qemu-system" == met_hosts.id_of(tmp_path, uri)
    assert met_hosts.id_of(tmp_path, "qemu+tls://cellar/system") == ""
