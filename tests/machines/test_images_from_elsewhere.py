"""An image from elsewhere leads a machine to no file of the host outside of the service's folders."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

import pytest

from innkeeper.errors import DiskError, ErrorCode
from innkeeper.machines.creation import Creation
from innkeeper.machines.drives import Drives
from innkeeper.machines.machine import MachineState
from innkeeper.machines.new_machine import NewMachine, Source
from tests.updates.inn import Inn

_JSON = 'json:{{"driver":"raw","file":{{"driver":"file","filename":"{}"}}}}'


async def qemu_img(*words: str | Path) -> None:
    """Make an image by QEMU's own program."""
    await asyncio.to_thread(subprocess.run, ["qemu-img", *words], check=True, capture_output=True)


@pytest.fixture
async def inn(tmp_path: Path) -> Inn:
    """An inn with one machine that is off."""
    made = Inn(tmp_path / "inn")
    (tmp_path / "inn").mkdir()
    await made.open()
    await made.add(MachineState.TURNED_OFF)
    return made


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    """The folder in which the service works on disks."""
    folder = tmp_path / "roots"
    folder.mkdir()
    return folder


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file of the host that is nobody's disk."""
    path = tmp_path / "secret"
    path.write_bytes(b"secret of the host".ljust(512, b"."))
    return path


async def hostile(way: str, path: Path, secret: Path) -> None:
    """Make an image that leads to the secret."""
    create = ("create", "-q", "-f", "qcow2", "-u")
    if way == "backing":
        await qemu_img(*create, "-F", "raw", "-b", secret, path, "1M")
    elif way == "json":
        await qemu_img(*create, "-F", "raw", "-b", _JSON.format(secret), path, "1M")
    elif way == "address":
        await qemu_img(*create, "-F", "raw", "-b", "nbd://127.0.0.1:1/secret", path, "1M")
    elif way == "link":
        path.with_name("link.raw").symlink_to(secret)
        await qemu_img(*create, "-F", "raw", "-b", "link.raw", path, "1M")
    elif way == "data":
        data = path.with_name("data")
        await qemu_img("create", "-q", "-f", "qcow2", "-o", f"data_file={data},data_file_raw=on", path, "1M")
        await qemu_img("amend", "-f", "qcow2", "-o", f"data_file={secret}", path)
    else:
        middle = path.with_name("middle.qcow2")
        await qemu_img(*create, "-F", "raw", "-b", secret, middle, "1M")
        await qemu_img(*create, "-F", "qcow2", "-b", middle, path, "1M")


@pytest.mark.parametrize("way", ["backing", "json", "address", "link", "data", "two below"])
async def test_what_an_image_names_lies_in_the_services_folders(
    inn: Inn, roots: Path, secret: Path, way: str
) -> None:
    """Attached, or a new machine's base, it is refused by the name of the file; the same inside is taken."""
    image = roots / "evil.qcow2"
    await hostile(way, image, secret)
    folders = [str(roots)]
    creation = Creation(
        machines=inn.machines, tasks=inn.tasks, directory=lambda: str(roots / "machines"), folders=folders
    )
    wanted = NewMachine(name="new", source=Source.OVERLAY, image=str(image), image_format="qcow2")
    drives = Drives(inn.machines, folders)
    name = (await inn.machines.list())[0].name
    for work in (
        lambda: drives.add_hard_disk(name, str(image), image_format="qcow2"),
        lambda: drives.add_hard_disk(name, str(image)),
        lambda: creation.create(wanted, owner="ana"),
    ):
        with pytest.raises(DiskError, match=r"secret|link\.raw") as refused:
            await work()
        assert refused.value.code is ErrorCode.ERROR_BAD_PATHNAME
    if way != "address":
        wide = [*folders, str(secret.parent)]
        assert (
            await inn.machines.hosts[(await inn.machines.get(name)).host].files.outside(
                str(image), "qcow2", wide
            )
            == ""
        )


async def test_a_definition_names_its_files_and_its_images_name_none_outside(
    inn: Inn, roots: Path, tmp_path: Path, secret: Path
) -> None:
    """A machine that is registered may have its own disk anywhere, and what its undo disk stands on."""
    image, definition = tmp_path / "evil.qcow2", tmp_path / "m.xml"
    await hostile("backing", image, secret)
    creation = Creation(
        machines=inn.machines, tasks=inn.tasks, directory=lambda: str(roots), folders=[str(roots)]
    )
    disk = f"<disk><driver type='qcow2'/><source file='{image}'/><target dev='vda'/></disk>"
    text = f"<domain><name>m</name><devices>{disk}</devices></domain>"
    definition.write_text(text)
    with pytest.raises(DiskError, match="secret") as refused:
        await creation.register(str(definition))
    assert refused.value.code is ErrorCode.ERROR_BAD_PATHNAME
    definition.write_text(text.replace("<devices>", f"<description>{secret}</description><devices>"))
    await creation._refuse_outside(next(iter(inn.machines.hosts.values())), definition.read_text())
