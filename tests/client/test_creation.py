"""Machines come and go through the client, against a real service; and the host object."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from innkeeper.client import Inn
from innkeeper.errors import ErrorCode, InnkeeperError, InvalidArgument
from innkeeper.wire.host import FirstBootOptions
from innkeeper.wire.states import MachineState, TaskResult
from innkeeper.wire.virtual_pc import FloppyDiskImageType
from tests.serving import Service


@pytest.fixture(scope="module")
def inn_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of this file's own, whose time goes fast."""
    service = Service(tmp_path_factory.mktemp("inn"), machines=3, speed=2000)
    service.start()
    yield service
    service.end()


@pytest.fixture
def inn(inn_service: Service) -> Iterator[Inn]:
    """A connection to it."""
    with inn_service.connect() as inn:
        yield inn


def test_a_machine_is_created_started_and_deleted_with_its_disk(inn: Inn) -> None:
    """Nothing of it is left."""
    task = inn.machines.create("new-1", memory_mib=512, disk_bytes=1 << 30, labels=("web",), notes="new")
    task.wait_for_completion(-1)
    assert task.result is TaskResult.SUCCESS, task.error_description
    machine = inn.machines["new-1"]
    (disk,) = machine.hard_disk_connections
    assert (machine.memory, machine.labels, machine.notes) == (512, ("web",), "new")
    assert [adapter.virtual_network for adapter in machine.network_adapters] == ["user"]
    machine.startup().wait_for_completion(-1)
    with pytest.raises(InnkeeperError) as refused:
        machine.delete()
    assert refused.value.code is ErrorCode.VM_E_VM_RUNNING
    machine.turn_off().wait_for_completion(-1)
    file = Path(disk.hard_disk.file)
    assert str(file) in machine.plan_deletion(disks=True).deleted
    assert str(file) in machine.plan_deletion().kept
    machine.delete(disks=True).wait_for_completion(-1)
    assert not file.parent.exists()
    assert "new-1" not in [each.name for each in inn.machines.list()]


def test_a_machine_is_made_from_an_image(inn: Inn) -> None:
    """A copy, with a seed for its first boot; an overlay, whose parent is watched over."""
    inn.machines.create("base", disk_bytes=1 << 30).wait_for_completion(-1)
    image = inn.machines["base"].hard_disk_connections[0].hard_disk.file
    told: FirstBootOptions = {"user": "ana", "ssh_keys": ["ssh-ed25519 AAAAC3Nza ana"], "hostname": "copy"}
    inn.machines.create("copy", image=image, first_boot=told).wait_for_completion(-1)
    copy = inn.machines["copy"]
    (seed,) = copy.dvd_rom_drives
    assert "ssh-ed25519" in Path(seed.image_file).read_text()
    inn.machines.create("over", image=image, overlay=True).wait_for_completion(-1)
    over = inn.machines["over"]
    assert over.configuration().parents == (image,)
    os.utime(image, (1, 1))
    with pytest.raises(InnkeeperError) as refused:
        over.startup()
    assert refused.value.code is ErrorCode.VM_E_PARENT_MODIFIED
    task = over.startup2(1)  # type: ignore[arg-type]  # the documented number
    task.wait_for_completion(-1)
    assert task.result is TaskResult.SUCCESS
    over.turn_off().wait_for_completion(-1)
    over.startup().wait_for_completion(-1)
    assert over.state is MachineState.RUNNING


def test_a_cancelled_creation_leaves_nothing(inn: Inn) -> None:
    """Neither machine nor file."""
    inn.machines.create("big", disk_bytes=1 << 30).wait_for_completion(-1)
    image = inn.machines["big"].hard_disk_connections[0].hard_disk.file
    task = inn.machines.create("gone", image=image)
    try:
        task.cancel()
    except InnkeeperError:
        pytest.skip("it was over before it could be cancelled")
    task.wait_for_completion(-1)
    assert task.result is TaskResult.CANCELLED
    assert not (Path(image).parents[1] / "gone").exists()
    assert "gone" not in [each.name for each in inn.machines.list()]


def test_a_machine_is_unregistered_and_comes_back_with_all_it_had(inn: Inn) -> None:
    """Its saved state and its undo disks too."""
    machine = inn.machines["old-1"]
    assert machine.state is MachineState.SAVED
    path = machine.unregister()
    assert "old-1" not in [each.name for each in inn.machines.list()]
    assert path in inn.virtual_pc.get_virtual_machine_files(without_registered=True)
    back = inn.machines.register(path)
    assert back.read().state is MachineState.SAVED
    back.startup().wait_for_completion(-1)
    assert back.read().state is MachineState.RUNNING


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("", ErrorCode.VM_E_CONFIG_NO_NAME),
        ("n" * 81, ErrorCode.VM_E_CONFIG_NAME_TOO_LONG),
        ("a/b", ErrorCode.VM_E_CONFIG_NAME_INVALID_CHAR),
        ("WEB-1", ErrorCode.VM_E_CONFIG_DUPLICATE_NAME),
    ],
)
def test_a_name_that_will_not_do_is_refused_before_anything_is_made(
    inn: Inn, name: str, code: ErrorCode
) -> None:
    """With the documented identifier."""
    with pytest.raises(InvalidArgument) as refused:
        inn.machines.create(name)
    assert refused.value.code is code


def test_the_host_object_tells_limits_and_hosts(inn: Inn) -> None:
    """Each documented property has a value of its kind."""
    pc = inn.virtual_pc
    assert (pc.name, pc.minimum_memory_per_vm, pc.maximum_number_of_ide_buses) == ("Innkeeper", 4, 2)
    assert pc.up_time >= 0
    assert pc.version
    assert 4 <= pc.suggested_maximum_memory_per_vm <= pc.maximum_memory_per_vm
    info = pc.host_info
    assert info.logical_processor_count == 8
    assert info.processor_features_string == "MMX,SSE,SSE2,x86-64"
    assert (info.os_major_version, info.os_minor_version) == (6, 1)
    assert info.memory_total_string == str(info.memory)
    assert [device.attached_to_vm for device in pc.usb_device_collection] == [None, None]


def test_networks_know_their_adapters(inn: Inn) -> None:
    """And the adapters that are on none are listed, too."""
    if "net-1" not in [each.name for each in inn.machines.list()]:
        inn.machines.create("net-1", network="Lab").wait_for_completion(-1)
    network = inn.virtual_pc.find_virtual_network("LAB")
    assert network is not None
    assert (network.name, network.host_adapter) == ("Lab", "eth0")
    (adapter,) = network.network_adapters
    assert adapter.virtual_machine == "net-1"
    adapter.detach_from_virtual_network()
    assert [each.virtual_machine for each in inn.virtual_pc.unconnected_network_adapters] == ["net-1"]
    assert inn.virtual_pc.find_virtual_network("nowhere") is None


def test_files_of_each_kind_are_found_in_the_search_paths(inn: Inn, tmp_path: Path) -> None:
    """And in the folders that are named besides."""
    pc = inn.virtual_pc
    more = tmp_path / "more"
    more.mkdir()
    for name in ("a.iso", "b.vhd", "c.xml"):
        (tmp_path / name).touch()
    pc.create_floppy_disk_image(str(more / "d.vfd"))
    pc.create_floppy_disk_image(str(more / "e.vfd"), FloppyDiskImageType.LOW_DENSITY)
    assert pc.get_floppy_disk_image_type(str(more / "e.vfd")) is FloppyDiskImageType.LOW_DENSITY
    assert list(pc.get_floppy_disk_files(str(more))) == [str(more / "d.vfd"), str(more / "e.vfd")]
    pc.search_paths = [str(tmp_path)]
    assert list(pc.get_dvd_files()) == [str(tmp_path / "a.iso")]
    assert list(pc.get_hard_disk_files()) == [str(tmp_path / "b.vhd")]
    assert str(tmp_path / "c.xml") in pc.get_virtual_machine_files()
    with pytest.raises(InnkeeperError) as refused:
        pc.search_paths = [str(tmp_path / "nowhere")]
    assert refused.value.code is ErrorCode.ERROR_PATH_NOT_FOUND
    with pytest.raises(InnkeeperError) as refused:
        pc.create_floppy_disk_image(str(more / "d.vfd"))
    assert refused.value.code is ErrorCode.ERROR_ALREADY_EXISTS


def test_options_are_kept_over_a_restart(inn_service: Service) -> None:
    """With their types."""
    with inn_service.connect() as inn:
        assert inn.virtual_pc.get_configuration_value("idle_timeout") == 30
        inn.virtual_pc.set_configuration_value("a/b", b"\x00\x01")
    inn_service.end()
    inn_service.start()
    with inn_service.connect() as inn:
        assert inn.virtual_pc.get_configuration_value("a/b") == b"\x00\x01"
        inn.virtual_pc.remove_configuration_value("a/b")
        with pytest.raises(InvalidArgument) as refused:
            inn.virtual_pc.get_configuration_value("a/b")
        assert refused.value.code is ErrorCode.VM_E_PREF_NOT_FOUND
