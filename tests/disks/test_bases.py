"""What an image stands on is read in the header of every format, however the name is written."""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path

import pytest

from innkeeper.disks.base_names import Base, address_keys, named_bases
from innkeeper.disks.bases import bases_of
from innkeeper.disks.create import create_differencing, create_dynamic
from innkeeper.errors import DiskError


def make(image: Path, image_format: str, *more: str) -> Path:
    """Make an image by QEMU's own program."""
    subprocess.run(["qemu-img", "create", "-q", "-f", image_format, *more, image, "4M"], check=True)
    return image


@pytest.mark.parametrize("image_format", ["qcow", "qcow2", "qed", "vmdk"])
@pytest.mark.parametrize("is_relative", [True, False])
def test_the_base_is_read_in_every_format_that_has_one(
    tmp_path: Path, image_format: str, is_relative: bool
) -> None:
    """Relative names count from the image's folder."""
    base_format = "vmdk" if image_format == "vmdk" else "raw"
    golden = make(tmp_path / "golden.img", base_format)
    name = golden.name if is_relative else str(golden)
    child = make(tmp_path / "child", image_format, "-b", name, "-F", base_format)
    assert [base.source for base in bases_of(child)] == [str(golden)]
    assert bases_of(golden) == []


@pytest.mark.parametrize(
    "name",
    [
        "{path}",
        "golden.qcow2",
        "file:{path}",
        'json:{{"driver":"qcow2","file":{{"driver":"file","filename":"{path}"}}}}',
        'json:{{"driver":"qcow2","file.driver":"file","file.filename":"{path}"}}',
        'json:{{"file.filename":"golden.qcow2","driver":"qcow2"}}',
        'json:{{"driver":"qcow2","file":{{"driver":"throttle","file":{{"filename":"file:{path}"}}}}}}',
        'json:{{"driver":"qcow2","file":{{"driver":"host_device","filename":"{path}"}}}}',
    ],
)
def test_every_way_to_write_a_path_is_understood(tmp_path: Path, name: str) -> None:
    """Whatever QEMU opens as this file is this file, with its format."""
    golden = tmp_path / "golden.qcow2"
    child = make(tmp_path / "child.qcow2", "qcow2", "-u", "-F", "qcow2", "-b", name.format(path=golden))
    assert bases_of(child) == [Base(source=str(golden), format="qcow2")]


def test_a_file_with_an_images_data_lies_below_it(tmp_path: Path) -> None:
    """Another image may have the same data file."""
    child = make(tmp_path / "child.qcow2", "qcow2", "-o", f"data_file={tmp_path / 'data.raw'}")
    assert bases_of(child) == [Base(source=str(tmp_path / "data.raw"), format="raw")]


def test_the_parent_of_a_vhd_is_known_by_its_identity(tmp_path: Path) -> None:
    """Another disk by that name is not its parent; one that cannot be read may be."""
    parent, child = tmp_path / "p.vhd", tmp_path / "c.vhd"
    create_dynamic(parent, 8 << 20)
    create_differencing(child, parent)
    assert bases_of(child) == [Base(source=str(parent), format="vhd")]
    parent.unlink()
    create_dynamic(parent, 8 << 20)
    assert bases_of(child) == []
    parent.write_bytes(b"damaged")
    assert bases_of(child) == [Base(source=str(parent), format="vhd")]


def test_a_guest_of_a_fixed_vhd_names_no_base(tmp_path: Path) -> None:
    """Its first sector is its own."""
    header = make(tmp_path / "header", "qcow2", "-u", "-b", "/golden.qcow2", "-F", "qcow2").read_bytes()
    disk = make(tmp_path / "guest.vhd", "vpc", "-o", "subformat=fixed")
    with disk.open("r+b") as file:
        file.write(header[:4096])
    assert bases_of(disk) == []


def vhdx_child(path: Path, names: dict[str, str]) -> Path:
    """Write the parts of a differencing VHDX that name its parent."""
    locator, at = bytearray(20 + 12 * len(names)), 20 + 12 * len(names)
    locator[18:20] = len(names).to_bytes(2, "little")
    for number, (key, value) in enumerate(names.items()):
        texts = [each.encode("utf-16-le") for each in (key, value)]
        entry = at.to_bytes(4, "little") + (at + len(texts[0])).to_bytes(4, "little")
        entry += b"".join(len(each).to_bytes(2, "little") for each in texts)
        locator[20 + 12 * number : 32 + 12 * number] = entry
        locator += b"".join(texts)
        at += sum(map(len, texts))
    metadata = uuid.UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e").bytes_le
    item = uuid.UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c").bytes_le
    regions = b"regi" + bytes(4) + (1).to_bytes(4, "little") + bytes(4)
    regions += metadata + (2 << 20).to_bytes(8, "little") + bytes(8)
    table = b"metadata" + bytes(2) + (1).to_bytes(2, "little") + bytes(20)
    table += item + (64 << 10).to_bytes(4, "little") + bytes(12)
    with path.open("wb") as file:
        for place, data in (
            (0, b"vhdxfile"),
            (192 << 10, regions),
            (2 << 20, table),
            ((2 << 20) + (64 << 10), locator),
        ):
            file.seek(place)
            file.write(data)
    return path


def test_all_names_of_a_vhdx_for_its_parent_count(tmp_path: Path) -> None:
    """The relative one as Windows writes it, and an absolute one beside it: drives say nothing here."""
    names = {"relative_path": "..\\gold\\p.vhdx", "absolute_win32_path": "C:\\disks\\q.vhdx"}
    child = vhdx_child(tmp_path / "c.vhdx", names)
    assert [base.source for base in bases_of(child)] == [f"{tmp_path}/../gold/p.vhdx", f"{tmp_path}/q.vhdx"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("rbd://a:6789,b:6789/pool/img", "rbd://b:6789,a:6789/pool/img"),
        ("rbd://a:6789,b/pool/img", "rbd:pool/img:mon_host=c\\:6789\\;B\\:3300:id=admin"),
        ("rbd:pool/img", 'json:{"driver":"rbd","pool":"pool","image":"img"}'),
        ("nbd://localhost:10999/x", "nbd://127.0.0.1:10999/x"),
        ("nbd://localhost/x", "nbd://[::1]:10809/x"),
        ("nbd://::1:10809/x", "nbd:localhost:10809:exportname=x"),
        ("nbd+unix:///x?socket=/a%20b", "nbd:unix:/a b:exportname=x"),
        ("nbd+unix:///x?socket=/s", 'json:{"driver":"nbd","path":"/s","export":"x"}'),
        ("nbd://h:1/x", 'json:{"driver":"raw","file":{"driver":"nbd","host":"H","port":"1","export":"x"}}'),
        ("nbd://h:1/x", 'json:{"server.host":"h","server.port":1,"driver":"nbd","export":"x"}'),
        ("iscsi://h:3260/iqn.a/0", 'json:{"driver":"iscsi","portal":"h:3260","target":"iqn.a"}'),
        ("rbd://b:1,a:1/p/i", 'json:{"driver":"rbd","pool":"p","image":"i","server":[{"host":"a"}]}'),
        ("https://user@h/disk.raw", 'json:{"driver":"https","url":"https://h:443/disk.raw"}'),
    ],
)  # fmt: skip
def test_two_addresses_of_one_image_share_a_key(one: str, other: str) -> None:
    """Hosts in any order, this computer by any name, and as JSON, as a URL or as of old."""
    (base,) = named_bases("/images/child", other)
    assert address_keys(one) & address_keys(base.source) or one == base.source


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("rbd://a/pool/img", "rbd://a/pool/img2"),
        ("nbd://a:1/x", "nbd://a:2/x"),
        ("nbd://a:1/x", "nbd://b:1/x"),
        ("nbd://localhost:1/x", "nbd+unix:///x?socket=/s"),
    ],
)
def test_other_addresses_share_none(one: str, other: str) -> None:
    """Another host, port, socket or name is another image."""
    assert not address_keys(one) & address_keys(other)


@pytest.mark.parametrize(
    "text", ["[" * 900, "{", "[]", '{"file":[1,"a"]}', '{"a":1,"a.b":2}', '{"file.filename":7}']
)
def test_a_name_that_says_nothing_is_kept_or_read_as_it_can(text: str) -> None:
    """A hostile name ends nothing."""
    assert named_bases("/images/child", f"json:{text}")


def test_what_is_no_file_cannot_be_read(tmp_path: Path) -> None:
    """A folder is no image, and a missing file is none."""
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(DiskError):
            bases_of(path)
