"""A disk's images are described to the end, or not at all."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import libvirt
import pytest
from lxml import etree

from innkeeper.disks.exports import Exports
from innkeeper.hypervisor.libvirt.connection import Connection
from innkeeper.hypervisor.libvirt.described_chains import DescribedChains
from innkeeper.hypervisor.libvirt.disk_elements import DiskElement
from innkeeper.hypervisor.libvirt.domains import Domains
from innkeeper.hypervisor.libvirt.exported_disks import ExportedDisks
from innkeeper.hypervisor.libvirt.identities import LibvirtIdentity
from innkeeper.hypervisor.libvirt.image_chain import ImageChain, ImageNode, LocalImage, NbdExport
from innkeeper.hypervisor.libvirt.images import Images
from innkeeper.hypervisor.libvirt.storages import Storages
from innkeeper.hypervisor.libvirt.uris import HostUri
from innkeeper.machines.ports.identity import HostIdentity

Describe = Callable[..., ImageChain | None]

#: A base below the overlay, as the definition of a machine on its undo disk says it.
_BELOW = "<backingStore type='file'><format type='qcow2'/><source file='{base}'/>{more}</backingStore>"


@pytest.fixture
def connect() -> Iterator[libvirt.virConnect]:
    """A libvirt that has no secrets to give."""
    connect = libvirt.open("test:///default")
    yield connect
    connect.close()


@pytest.fixture
def describe(connect: libvirt.virConnect, tmp_path: Path) -> Describe:
    """Describe the chain of a disk whose overlay and base are there."""
    golden, base, overlay = (str(tmp_path / name) for name in ("golden", "base", "overlay"))
    _create(golden)
    _create(base, golden)
    _create(overlay, base)

    def describe(
        below: str, *, on: str = base, uri: str = "qemu:///session", inside: str = "", options: str = ""
    ) -> ImageChain | None:
        text = (
            f"<disk type='file' device='disk'><driver name='qemu' type='qcow2' {options}/>"
            f"<source file='{overlay}'>{inside}</source>{below}<target dev='vda'/></disk>"
        )
        disk = DiskElement(etree.fromstring(text.format(base=base)))
        return described_chains(HostUri.parse(uri), tmp_path).of(connect, disk, on)

    return describe


def described_chains(where: HostUri, directory: Path) -> DescribedChains:
    """The chains of a host's disks, whose exports would be in this directory."""
    nobody = Connection(
        where,
        identity=LibvirtIdentity(where, directory),
        on_open=lambda _c: (),
        clean_up=_nothing,
        on_connected=_nothing,
        on_lost=_nothing,
    )
    exported = ExportedDisks(
        where, nobody, Domains("here", where, HostIdentity()), Exports(directory / "exports")
    )
    images = Images(where)
    return DescribedChains(where, images, Storages(where, images), exported)


def _nothing(*_heard: object) -> None:
    """Nobody connects."""


def _create(path: str, base: str = "") -> None:
    over = ["-b", base, "-F", "qcow2"] if base else []
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", *over, path, *([] if base else ["1M"])], check=True
    )


def qcow2(path: Path) -> ImageNode:
    """A file in this format."""
    return ImageNode(storage=LocalImage(path=str(path)), format="qcow2")


def test_what_the_definition_leaves_out_is_in_the_headers(describe: Describe, tmp_path: Path) -> None:
    """A clone whose parent nobody declared has it all the same."""
    whole = tuple(qcow2(tmp_path / name) for name in ("overlay", "base", "golden"))
    for below in ("", _BELOW.format(base="{base}", more="")):
        chain = describe(below)
        assert chain is not None
        assert chain.nodes == whole


def test_an_end_that_the_definition_declares_is_the_end(describe: Describe, tmp_path: Path) -> None:
    """What a header names beyond it is refused later, when the images are open, and never looked for."""
    chain = describe(_BELOW.format(base="{base}", more="<backingStore/>"))
    assert chain is not None
    assert chain.nodes == (qcow2(tmp_path / "overlay"), qcow2(tmp_path / "base"))


def test_the_disk_says_how_its_images_are_opened(describe: Describe) -> None:
    """What the guest gives up is given back as by its own QEMU, and its host's cache is passed by."""
    assert (plain := describe("")) is not None
    assert (plain.discard, plain.direct) == (False, False)
    assert (chosen := describe("", options="cache='none' discard='unmap'")) is not None
    assert (chosen.discard, chosen.direct) == (True, True)


_NETWORK = (
    "<backingStore type='network'><format type='raw'/><source protocol='nbd' name='vm,1' {}>{}</source>"
    "<backingStore/></backingStore>"
)


@pytest.mark.parametrize(
    ("host", "base", "export"),
    [
        (
            "<host name='10.0.0.7' port='10810'/>",
            "nbd://10.0.0.7:10810/vm,1",
            NbdExport(export="vm,1", host="10.0.0.7", port=10810),
        ),
        ("<host name='store'/>", "nbd://store:10809/vm,1", NbdExport(export="vm,1", host="store")),
        (
            "<host transport='unix' socket='/run/s'/>",
            "nbd+unix:///vm,1?socket=/run/s",
            NbdExport(export="vm,1", socket="/run/s"),
        ),
    ],
)
def test_a_base_on_a_server(describe: Describe, host: str, base: str, export: NbdExport) -> None:
    """By its address, or by a socket of this computer."""
    chain = describe(_NETWORK.format("", host), on=base)
    assert chain is not None
    assert chain.nodes[1] == ImageNode(storage=export, format="raw")


def test_a_vhd_is_read_by_its_export(describe: Describe, tmp_path: Path) -> None:
    """QEMU itself would read it without its parent."""
    below = _NETWORK.replace("vm,1", "vhd:/d/c.vhd").format("", "<host transport='unix' socket='/gone'/>")
    chain = describe(below, on="/d/c.vhd")
    assert chain is not None
    socket = Exports(tmp_path / "exports").socket_of("/d/c.vhd")
    storage = NbdExport(export="vhd:/d/c.vhd", socket=socket)
    assert chain.nodes[1] == ImageNode(storage=storage, format="raw")


_SECRET = "<secret type='passphrase' uuid='5d0e5a36-6b5d-4f9b-8a0a-55b5c5f5d9a1'/>"


_IN_THE_FILE = (
    "<backingStore type='file'><format type='{}'/><source file='{{base}}'>{}</source>"
    "<backingStore/></backingStore>"
)
_SLICE = "<slices><slice type='storage' offset='0' size='512'/></slices>"
_RBD = "<backingStore type='network'><format type='raw'/><source protocol='rbd' name='p/i'/></backingStore>"
_VOLUME = "<backingStore type='volume'><format type='raw'/><source pool='p' volume='v'/></backingStore>"


@pytest.mark.parametrize(
    ("below", "on"),
    [
        pytest.param(_NETWORK.format("tls='yes'", "<host name='s'/>"), "nbd://s:10809/vm,1", id="TLS"),
        pytest.param(_IN_THE_FILE.format("raw", _SLICE), "", id="an image within another"),
        pytest.param(_IN_THE_FILE.format("qed", ""), "", id="a format of old"),
        pytest.param(_RBD, "rbd:p/i", id="another kind of server"),
        pytest.param(_VOLUME, "p/v", id="a pool that is not there"),
        pytest.param(
            _IN_THE_FILE.format("qcow2", f"<encryption format='luks'>{_SECRET}</encryption>"),
            "",
            id="a secret",
        ),
    ],
)
def test_what_only_libvirt_can_open_is_left_to_it(
    describe: Describe, tmp_path: Path, below: str, on: str
) -> None:
    """Half a description would be worse than none."""
    assert describe(below, on=on or str(tmp_path / "base")) is None
    assert describe(_IN_THE_FILE.format("raw", "")) is not None


def test_another_base_than_is_said_is_not_merged_into(describe: Describe, tmp_path: Path) -> None:
    """The golden image below a clone is never the one that is written."""
    assert describe("", on=str(tmp_path / "golden")) is None


def test_images_of_another_user_are_left_to_libvirt(describe: Describe, tmp_path: Path) -> None:
    """The base is to be written, and what lies below it only read."""
    (tmp_path / "golden").chmod(0o400)
    assert describe("") is not None
    (tmp_path / "base").chmod(0o400)
    assert describe("") is None


def test_another_computers_images_are_left_to_it(describe: Describe) -> None:
    """A path means something else there."""
    assert describe("", uri="qemu+ssh://far/system") is None
