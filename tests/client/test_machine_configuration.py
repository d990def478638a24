"""How machines are made, through the client, against a real service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from innkeeper.client import Machine
from innkeeper.errors import ErrorCode, InnkeeperError, InvalidArgument, MachineNotFound
from innkeeper.wire.states import MachineState
from innkeeper.wire.virtual_pc import (
    Attachment,
    DriveType,
    SerialPortType,
    ShutdownAction,
    StartupOption,
    UndoAction,
)
from tests.serving import Service


@pytest.fixture(scope="module")
def inn_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of this file's own, whose time goes fast."""
    service = Service(tmp_path_factory.mktemp("inn"), machines=3, speed=2000)
    service.start()
    yield service
    service.end()


@pytest.fixture
def machine(inn_service: Service) -> Iterator[Machine]:
    """A machine that is off."""
    with inn_service.connect() as inn:
        machine = inn.machines["web-1"]
        if machine.state is not MachineState.TURNED_OFF:
            machine.turn_off().wait_for_completion(-1)
        yield machine


def test_settings_are_set_and_read(machine: Machine) -> None:
    """Each property of the documented interface."""
    machine.notes = "one\ntwo"
    machine.memory = 777
    machine.processors = 3
    machine.bios_serial_number = "S-1"
    machine.base_board_serial_number = "B-1"
    machine.chassis_serial_number = "C-1"
    machine.chassis_asset_tag = "T-1"
    machine.undo_action = UndoAction.COMMIT
    machine.shutdown_action_on_quit = ShutdownAction.TURN_OFF
    machine.autostart = True
    assert (machine.notes, machine.memory, machine.processors) == ("one\ntwo", 777, 3)
    assert (machine.bios_serial_number, machine.base_board_serial_number) == ("S-1", "B-1")
    assert (machine.chassis_serial_number, machine.chassis_asset_tag) == ("C-1", "T-1")
    assert (machine.undo_action, machine.shutdown_action_on_quit) == (
        UndoAction.COMMIT,
        ShutdownAction.TURN_OFF,
    )
    assert machine.autostart
    assert machine.bios_guid.startswith("{")
    assert machine.has_sse2
    assert not machine.has_3dnow
    assert Path(machine.file).is_file()
    machine.undo_action, machine.shutdown_action_on_quit = UndoAction.KEEP, ShutdownAction.SAVE


def test_a_renamed_machine_is_found_under_its_new_name_alone(machine: Machine, inn_service: Service) -> None:
    """Whatever the case; and back again."""
    machine.name = "Web Server 1"
    with inn_service.connect() as inn:
        assert inn.machines["WEB server 1"].read().name == "Web Server 1"
        with pytest.raises(MachineNotFound):
            inn.machines["web-1"]
        with pytest.raises(InvalidArgument) as refused:
            machine.name = "DB-1"
        assert refused.value.code is ErrorCode.VM_E_CONFIG_DUPLICATE_NAME
    machine.name = "web-1"


def test_labels_are_given_and_taken(machine: Machine) -> None:
    """And stand in the list."""
    assert machine.add_labels("web", "night-a") == ("web", "night-a")
    assert machine.add_labels("web") == ("web", "night-a")
    assert machine.read().labels == ("web", "night-a")
    assert machine.remove_label("web") == ("night-a",)
    with pytest.raises(InvalidArgument):
        machine.remove_label("web")
    machine.remove_label("night-a")


def test_values_of_every_kind_are_kept(machine: Machine) -> None:
    """With their types; a documented key has its default, and memory is the machine's own."""
    for value in ("text", 5, True, b"\x00\xff"):
        machine.set_configuration_value("a/b[@id=1]", value)
        assert machine.get_configuration_value("a/b[@id=1]") == value
        assert type(machine.get_configuration_value("a/b[@id=1]")) is type(value)
    machine.remove_configuration_value("a/b[@id=1]")
    assert machine.get_configuration_value("ui_options/seconds_to_save") == 300
    machine.set_configuration_value("hardware/memory/ram_size", 512)
    assert machine.memory == 512
    with pytest.raises(InvalidArgument) as refused:
        machine.get_configuration_value("a/b[@id=1]")
    assert refused.value.code is ErrorCode.VM_E_PREF_NOT_FOUND


def test_activation_values_last_until_it_is_off(machine: Machine) -> None:
    """They begin as a copy of the configuration's."""
    machine.set_configuration_value("a", 1)
    machine.startup().wait_for_completion(-1)
    assert machine.get_activation_value("a") == 1
    machine.set_activation_value("a", 2)
    assert (machine.get_activation_value("a"), machine.get_configuration_value("a")) == (2, 1)
    machine.turn_off().wait_for_completion(-1)
    with pytest.raises(InnkeeperError) as refused:
        machine.get_activation_value("a")
    assert refused.value.code is ErrorCode.VM_E_PREF_NOT_FOUND


def test_drives_come_move_and_go(machine: Machine, tmp_path: Path) -> None:
    """A DVD drive at a location, and what is in it."""
    image = tmp_path / "x.iso"
    image.write_bytes(bytes(2048))
    drive = machine.add_dvd_rom_drive(1, 0)
    assert (drive.bus_number, drive.device_number) == (1, 0)
    assert machine.attached_drive_types[1][0] is DriveType.DVD
    drive.set_bus_location(1, 1)
    assert (drive.bus_number, drive.device_number, drive.attachment) == (1, 1, Attachment.NONE)
    drive.attach_image(str(image))
    assert (drive.attachment, drive.image_file) == (Attachment.IMAGE, str(image))
    drive.release_image()
    drive.attach_host_drive("/dev/sr0")
    assert drive.host_drive_letter == "/dev/sr0"
    drive.release_host_drive()
    machine.remove_dvd_rom_drive(drive)
    assert list(machine.dvd_rom_drives) == []


def test_hard_disks_are_told_from_their_undo_disks(machine: Machine) -> None:
    """Undoable, the disk itself lies below what takes the writes."""
    (connection,) = machine.hard_disk_connections
    disk = connection.hard_disk.file
    with pytest.raises(InnkeeperError) as refused:
        connection.undo_hard_disk  # noqa: B018  to read it is what is tested
    assert refused.value.code is ErrorCode.ERROR_FILE_NOT_FOUND
    machine.undoable = True
    machine.startup().wait_for_completion(-1)
    assert connection.hard_disk.file == disk
    assert connection.undo_hard_disk.file != disk
    machine.turn_off().wait_for_completion(-1)
    assert machine.startup2(StartupOption.NORMAL).wait(60)
    machine.turn_off().wait_for_completion(-1)
    undo = Path(connection.undo_hard_disk.file)
    assert undo.exists()
    machine.undoable = False
    assert not undo.exists()


def test_network_adapters_are_plugged_in_and_out(machine: Machine) -> None:
    """To networks by name, whatever the case."""
    adapter = machine.add_network_adapter("lab")
    assert (adapter.virtual_network, adapter.virtual_machine) == ("Lab", "web-1")
    adapter.detach_from_virtual_network()
    assert adapter.virtual_network is None
    adapter.attach_to_virtual_network("user")
    assert adapter.virtual_network == "user"
    with pytest.raises(InnkeeperError) as refused:
        adapter.ethernet_address = "52-54-00-aa-bb-cc"
    assert refused.value.code is ErrorCode.VM_E_CANT_SET_DYNAMIC_MAC_ADDRESS
    adapter.is_ethernet_address_dynamic = False
    adapter.ethernet_address = "52-54-00-AA-BB-CC"
    assert (adapter.ethernet_address, adapter.is_ethernet_address_dynamic) == ("52:54:00:aa:bb:cc", False)
    machine.remove_network_adapter(adapter)
    assert list(machine.network_adapters) == []


def test_ports_and_floppies_are_joined(machine: Machine, tmp_path: Path) -> None:
    """Each to a file."""
    port = machine.serial_port(0)
    port.configure(SerialPortType.TEXT_FILE, str(tmp_path / "serial.txt"), True)
    assert (port.type, port.name) == (SerialPortType.TEXT_FILE, str(tmp_path / "serial.txt"))
    assert port.connect_immediately
    port.remove()
    printer = machine.parallel_port(0)
    printer.name = str(tmp_path / "printer.txt")
    assert [each.name for each in machine.parallel_ports] == [str(tmp_path / "printer.txt")]
    printer.name = ""
    assert list(machine.parallel_ports) == []
    floppy = machine.add_floppy_drive()
    assert (floppy.drive_number, floppy.attachment) == (0, Attachment.NONE)
    machine.remove_floppy_drive(floppy)


def test_usb_devices_are_one_machines_at_a_time(machine: Machine) -> None:
    """And come back to the host."""
    machine.startup().wait_for_completion(-1)
    machine.attach_usb_device(1, 2)
    with pytest.raises(InnkeeperError) as refused:
        machine.attach_usb_device(1, 2)
    assert refused.value.code is ErrorCode.VM_E_USB_ATTACH_FAILED_ALREADY_ASSIGNED
    machine.detach_usb_device(1, 2)
    with pytest.raises(InnkeeperError) as refused:
        machine.detach_usb_device(1, 2)
    assert refused.value.code is ErrorCode.VM_E_USB_DETACH_FAILED
