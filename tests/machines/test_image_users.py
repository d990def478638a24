"""A cloud image called ``.img`` is read as qcow2, and a raw disk never as what its guest wrote."""

from __future__ import annotations

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from innkeeper.errors import DiskError, ErrorCode
from innkeeper.machines.creation import Creation
from innkeeper.machines.image_users import raw_user_of
from innkeeper.machines.machine import MachineState
from innkeeper.machines.new_machine import NewMachine, Source
from innkeeper.machines.ports.host import Host
from tests.updates.inn import Inn

OFF = MachineState.TURNED_OFF


@pytest.fixture
async def inn(tmp_path: Path) -> Inn:
    """An inn with one machine, whose disks are raw."""
    inn = Inn(tmp_path / "inn")
    (tmp_path / "inn").mkdir()
    await inn.open()
    await inn.add(OFF)
    return inn


@pytest.fixture
def creation(inn: Inn, tmp_path: Path) -> Creation:
    """What makes machines there."""
    return Creation(machines=inn.machines, tasks=inn.tasks, directory=lambda: str(tmp_path / "machines"))


def qcow2(path: Path) -> str:
    """A qcow2 image that stands alone, as cloud images are published."""
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "8M"], check=True)
    return str(path)


async def create(creation: Creation, image: str, image_format: str = "") -> str:
    """Order a new machine over the image; returns what its task is called."""
    wanted = NewMachine(name="new", source=Source.COPY, image=image, image_format=image_format)
    task = await creation.create(wanted, owner="ana")
    return task.description


async def test_a_cloud_image_called_img_needs_no_format(creation: Creation, inn: Inn, tmp_path: Path) -> None:
    """Nobody uses it: no guest has written its header."""
    image = qcow2(tmp_path / "debian-12.img")
    assert await create(creation, image) == "Create new"
    assert await raw_user_of(inn.machines.hosts, image) == ""


@pytest.mark.parametrize("way", ["its name", "a hard link", "a symbolic link", "below an undo disk"])
async def test_a_raw_disk_with_a_header_by_its_guest_is_asked_about(
    creation: Creation, inn: Inn, tmp_path: Path, way: str
) -> None:
    """Whatever name it has; the sentence names the machine, and a format said by the person counts."""
    disk = inn.disk()
    Path(disk).write_bytes(Path(qcow2(tmp_path / "lie")).read_bytes())
    image = disk
    if way == "below an undo disk":
        await inn.host.undo_disks.add("web-1", {"vda": f"{disk}.innkeeper-7"})
    elif way != "its name":
        image = str(tmp_path / "innocent.img")
        (os.link if way == "a hard link" else os.symlink)(disk, image)
    with pytest.raises(DiskError, match="web-1") as refused:
        await create(creation, image)
    assert refused.value.code is ErrorCode.VM_E_INVALID_HD_FILE
    assert "--format" in refused.value.advice
    assert await create(creation, image, "qcow2") == "Create new"


async def test_an_image_that_names_a_file_of_the_host_is_refused(creation: Creation, tmp_path: Path) -> None:
    """No machine uses it, and still a guest may have written it once."""
    image = str(tmp_path / "over.img")
    made = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", "/etc/shadow", "-F", "raw", "-u", image, "8M"]
    await asyncio.to_thread(subprocess.run, made, check=True)
    with pytest.raises(DiskError) as refused:
        await create(creation, image)
    assert refused.value.code is ErrorCode.VM_E_INVALID_HD_FILE


@pytest.mark.qemu
async def test_a_base_that_is_declared_qcow2_stays_one(embedded_hypervisor: Host, tmp_path: Path) -> None:
    """An image below an overlay serves the next machine too: no guest writes the header of a qcow2."""
    host, image, raw = embedded_hypervisor, qcow2(tmp_path / "golden.img"), qcow2(tmp_path / "raw.img")
    disk = str(tmp_path / "disk.qcow2")
    for base, declared, name in ((image, "qcow2", "cloned"), (raw, "raw", "other")):
        path = disk.replace("disk", name)
        await host.images.overlay(path, base, declared, 8 << 20)
        await host.definitions.define_new(NewMachine(name=name, disk_path=path, disk_bytes=8 << 20))
    hosts = {host.name: host}
    assert await raw_user_of(hosts, image) == ""
    assert await raw_user_of(hosts, raw) == "other"
    for name in ("cloned", "other"):
        await host.definitions.undefine(name)
