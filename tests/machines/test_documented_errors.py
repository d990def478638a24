"""Every refusal carries the documented identifier, at the moment that the documentation has it: the call."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import pytest

from innkeeper.errors import ErrorCode, InnkeeperError, WrongState
from innkeeper.machines.configuration import Location, UsbAddress
from innkeeper.machines.creation import Creation
from innkeeper.machines.equipment import Equipment
from innkeeper.machines.machine import MachineState
from innkeeper.machines.new_machine import FirstBoot, NewMachine, Source
from innkeeper.wire.commands import Command, command_of
from innkeeper.wire.machine_settings import MachineChanges
from innkeeper.wire.virtual_pc import Attachment, SerialPortType
from tests.updates.inn import Inn

OFF, SAVED = MachineState.TURNED_OFF, MachineState.SAVED
ON, PAUSED = MachineState.RUNNING, MachineState.PAUSED
M = "web-1"


@dataclasses.dataclass(frozen=True)
class World:
    """What a call may use."""

    inn: Inn
    made: Equipment
    creation: Creation
    directory: Path

    def file(self, name: str = "x.iso") -> str:
        """A file that is there."""
        path = self.directory / name
        path.write_bytes(bytes(2048))
        return str(path)


Call = Callable[[World], Awaitable[object]]


def _wish(**wishes: object) -> Call:
    return lambda w: w.made.settings.change(M, cast("MachineChanges", wishes))


def _create(**wishes: object) -> Call:
    return lambda w: w.creation.create(NewMachine(**{"name": "new", **wishes}), owner="ana")  # type: ignore[arg-type]


def _command(name: str) -> Call:
    return lambda w: w.inn.machines.command(M, command_of(name), owner="ana")


#: Documented member, the machine's state, the call, the identifier.
TABLE: list[tuple[str, MachineState, Call, ErrorCode]] = [
    ("Startup", ON, _command("startup"), ErrorCode.VM_E_VM_RUNNING),
    ("Startup", PAUSED, _command("startup"), ErrorCode.VM_E_VM_RUNNING),
    ("Startup2", OFF, lambda w: w.inn.machines.startup2(M, 7, owner="ana"), ErrorCode.E_INVALIDARG),
    ("Pause", PAUSED, _command("pause"), ErrorCode.E_FAIL),
    ("Pause", OFF, _command("pause"), ErrorCode.VM_E_VM_NOT_RUNNING),
    ("Pause", SAVED, _command("pause"), ErrorCode.VM_E_VM_NOT_RUNNING),
    ("Resume", ON, _command("resume"), ErrorCode.E_FAIL),
    ("Resume", OFF, _command("resume"), ErrorCode.VM_E_VM_NOT_RUNNING),
    ("Save", OFF, _command("save"), ErrorCode.VM_E_VM_NOT_RUNNING),
    ("Save", SAVED, _command("save"), ErrorCode.VM_E_VM_NOT_RUNNING),
    ("TurnOff", OFF, _command("turn_off"), ErrorCode.VM_E_VM_NOT_RUNNING),
    ("Reset", OFF, _command("reset"), ErrorCode.VM_E_VM_NOT_RUNNING),
    ("Reset", SAVED, _command("reset"), ErrorCode.VM_E_VM_NOT_RUNNING),
    ("DiscardSavedState", OFF, _command("discard_saved_state"), ErrorCode.VM_E_VM_NO_SAVED_STATE),
    ("DiscardSavedState", ON, _command("discard_saved_state"), ErrorCode.VM_E_VM_RUNNING),
    ("DiscardUndoDisks", ON, _command("discard_undo_disks"), ErrorCode.VM_E_VM_RUNNING_OR_SAVED),
    ("DiscardUndoDisks", SAVED, _command("discard_undo_disks"), ErrorCode.VM_E_VM_RUNNING_OR_SAVED),
    ("any", OFF, lambda w: w.inn.machines.startup("nobody", owner="ana"), ErrorCode.VM_E_VM_UNKNOWN),
    ("Name", ON, _wish(name="other"), ErrorCode.VM_E_PREF_VM_ACTIVE),
    ("Name", SAVED, _wish(name="other"), ErrorCode.VM_E_PREF_VM_ACTIVE),
    ("Name", OFF, _wish(name=""), ErrorCode.VM_E_CONFIG_NO_NAME),
    ("Name", OFF, _wish(name="x" * 81), ErrorCode.VM_E_CONFIG_NAME_TOO_LONG),
    *[
        ("Name", OFF, _wish(name=f"a{bad}b"), ErrorCode.VM_E_CONFIG_NAME_INVALID_CHAR)
        for bad in '*?:<>/|\\"\n'
    ],
    ("Name", OFF, _wish(name="DB-1"), ErrorCode.VM_E_CONFIG_DUPLICATE_NAME),
    ("Notes", ON, _wish(notes="x" * 65_537), ErrorCode.E_INVALIDARG),
    ("Notes", ON, _wish(notes="\x00"), ErrorCode.E_INVALIDARG),
    ("Memory", ON, _wish(memory_mib=512), ErrorCode.VM_E_PREF_VM_ACTIVE),
    ("Memory", SAVED, _wish(memory_mib=512), ErrorCode.VM_E_PREF_VM_ACTIVE),
    ("Memory", OFF, _wish(memory_mib=3), ErrorCode.E_INVALIDARG),
    ("Memory", OFF, _wish(memory_mib=1 << 30), ErrorCode.E_INVALIDARG),
    ("Undoable", ON, _wish(undoable=True), ErrorCode.VM_E_PREF_VM_ACTIVE),
    ("Undoable", SAVED, _wish(undoable=False), ErrorCode.VM_E_PREF_VM_ACTIVE),
    ("processors", OFF, _wish(vcpus=0), ErrorCode.E_INVALIDARG),
    *[
        ("BIOS strings", state, _wish(**{key: "S"}), ErrorCode.VM_E_VM_RUNNING_OR_SAVED)
        for key in (
            "bios_serial_number",
            "base_board_serial_number",
            "chassis_serial_number",
            "chassis_asset_tag",
        )
        for state in (ON, SAVED)
    ],
    ("BIOSSerialNumber", OFF, _wish(bios_serial_number="x" * 64), ErrorCode.E_INVALIDARG),
    ("BIOSGUID", OFF, _wish(bios_guid="no"), ErrorCode.E_INVALIDARG),
    ("SavedStateFilePath", OFF, lambda w: w.inn.host.saved_states.path(M), ErrorCode.VM_E_VM_NO_SAVED_STATE),
    *[
        ("AddHardDiskConnection", state, lambda w: w.made.drives.add_hard_disk(M, w.file()),
         ErrorCode.VM_E_VM_RUNNING_OR_SAVED)
        for state in (ON, SAVED)
    ],
    ("AddHardDiskConnection", OFF, lambda w: w.made.drives.add_hard_disk(M, "disk.img"),
     ErrorCode.ERROR_BAD_PATHNAME),
    ("AddHardDiskConnection", OFF, lambda w: w.made.drives.add_hard_disk(M, ""),
     ErrorCode.ERROR_INVALID_NAME),
    ("AddHardDiskConnection", OFF, lambda w: w.made.drives.add_hard_disk(M, "/" + "x" * 5000),
     ErrorCode.ERROR_BUFFER_OVERFLOW),
    ("AddHardDiskConnection", OFF, lambda w: w.made.drives.add_hard_disk(M, str(w.directory / "no.img")),
     ErrorCode.ERROR_FILE_NOT_FOUND),
    ("AddHardDiskConnection", OFF, lambda w: w.made.drives.add_hard_disk(M, "/nowhere/no.img"),
     ErrorCode.ERROR_PATH_NOT_FOUND),
    ("AddHardDiskConnection", OFF,
     lambda w: w.made.drives.add_hard_disk(M, w.file(), Location(bus=0, device=0)),
     ErrorCode.VM_E_DRIVE_BUS_LOC_IN_USE),
    ("AddHardDiskConnection", OFF,
     lambda w: w.made.drives.add_hard_disk(M, w.file(), Location(bus=0, device=2)), ErrorCode.E_INVALIDARG),
    ("AddHardDiskConnection", OFF,
     lambda w: w.made.drives.add_hard_disk(M, w.file(), Location(bus=-1, device=0)), ErrorCode.E_INVALIDARG),
    ("AddHardDiskConnection", OFF, lambda w: w.made.drives.add_hard_disk(M, w.inn.disk("db-1")),
     ErrorCode.ERROR_SHARING_VIOLATION),
    ("AddHardDiskConnection", OFF, lambda w: w.made.drives.add_hard_disk(M, w.file("real.img")),
     ErrorCode.VM_E_INVALID_HD_FILE),
    ("RemoveHardDiskConnection", ON, lambda w: w.made.drives.remove_hard_disk(M, "vda"),
     ErrorCode.VM_E_VM_RUNNING_OR_SAVED),
    ("RemoveHardDiskConnection", OFF, lambda w: w.made.drives.remove_hard_disk(M, "vdz"),
     ErrorCode.VM_E_DRIVE_INVALID),
    ("HardDiskConnection.SetBusLocation", SAVED,
     lambda w: w.made.drives.move_drive(M, "vda", Location(bus=2, device=0)),
     ErrorCode.VM_E_VM_RUNNING_OR_SAVED),
    ("HardDiskConnection.SetBusLocation", OFF,
     lambda w: w.made.drives.move_drive(M, "vda", Location(bus=0, device=1)),
     ErrorCode.VM_E_DRIVE_BUS_LOC_IN_USE),
    ("HardDiskConnection.SetBusLocation", OFF,
     lambda w: w.made.drives.move_drive(M, "vda", Location(bus=99, device=0)), ErrorCode.E_INVALIDARG),
    ("HardDiskConnection.SetBusLocation", OFF,
     lambda w: w.made.drives.move_drive(M, "hda", Location(bus=1, device=0)), ErrorCode.VM_E_DRIVE_INVALID),
    ("AddDVDROMDrive", SAVED, lambda w: w.made.drives.add_dvd_drive(M), ErrorCode.VM_E_VM_RUNNING_OR_SAVED),
    ("AddDVDROMDrive", OFF, lambda w: w.made.drives.add_dvd_drive(M, Location(bus=0, device=0)),
     ErrorCode.VM_E_DRIVE_BUS_LOC_IN_USE),
    ("RemoveDVDROMDrive", OFF, lambda w: w.made.drives.remove_dvd_drive(M, "vda"),
     ErrorCode.VM_E_DRIVE_INVALID),
    ("DVDDrive.AttachImage", OFF, lambda w: w.made.drives.attach_image(M, "sdz", w.file()),
     ErrorCode.VM_E_DRIVE_INVALID),
    ("AddNetworkAdapter", ON, lambda w: w.made.adapters.add_adapter(M), ErrorCode.VM_E_VM_RUNNING_OR_SAVED),
    ("AddNetworkAdapter", OFF, lambda w: w.made.adapters.add_adapter(M, "nowhere"),
     ErrorCode.VM_E_INVALID_VIRTUAL_NETWORK_ID),
    ("RemoveNetworkAdapter", SAVED, lambda w: w.made.adapters.remove_adapter(M, 1),
     ErrorCode.VM_E_VM_RUNNING_OR_SAVED),
    ("RemoveNetworkAdapter", OFF, lambda w: w.made.adapters.remove_adapter(M, 9), ErrorCode.E_INVALIDARG),
    ("EthernetAddress", OFF, lambda w: w.made.adapters.set_mac(M, 1, "no"), ErrorCode.E_INVALIDARG),
    ("EthernetAddress", OFF, lambda w: w.made.adapters.set_mac(M, 1, "01:00:00:00:00:01"),
     ErrorCode.E_INVALIDARG),
    ("SerialPort.Configure", OFF,
     lambda w: w.made.ports.configure_serial(M, 4, SerialPortType.NULL), ErrorCode.E_INVALIDARG),
    ("SerialPort.Configure", OFF,
     lambda w: w.made.ports.configure_serial(M, 0, SerialPortType.TEXT_FILE, "COM1"),
     ErrorCode.ERROR_BAD_PATHNAME),
    ("ParallelPort.Name", OFF, lambda w: w.made.ports.name_parallel(M, 9, "/dev/parport0"),
     ErrorCode.E_INVALIDARG),
    ("AttachUSBDevice", OFF, lambda w: w.made.usb.attach_usb(M, UsbAddress(bus=1, device=2)),
     ErrorCode.VM_E_VM_NOT_RUNNING),
    ("AttachUSBDevice", ON, lambda w: w.made.usb.attach_usb(M, UsbAddress(bus=9, device=9)),
     ErrorCode.VM_E_USB_ATTACH_FAILED),
    ("DetachUSBDevice", ON, lambda w: w.made.usb.detach_usb(M, UsbAddress(bus=1, device=2)),
     ErrorCode.VM_E_USB_DETACH_FAILED),
    ("GetConfigurationValue", OFF, lambda w: w.made.values.get(M, ""), ErrorCode.E_INVALIDARG),
    ("GetConfigurationValue", OFF, lambda w: w.made.values.get(M, "a//b"), ErrorCode.E_INVALIDARG),
    ("GetConfigurationValue", OFF, lambda w: w.made.values.get(M, "no/such"), ErrorCode.VM_E_PREF_NOT_FOUND),
    ("RemoveConfigurationValue", OFF, lambda w: w.made.values.remove(M, "no/such"),
     ErrorCode.VM_E_PREF_NOT_FOUND),
    ("SetConfigurationValue", OFF, lambda w: w.made.values.set(M, "", 1), ErrorCode.E_INVALIDARG),
    ("SetConfigurationValue", OFF, lambda w: w.made.values.set(M, "hardware/memory/ram_size", "x"),
     ErrorCode.E_INVALIDARG),
    ("SetActivationValue", OFF, lambda w: w.made.values.set(M, "a", 1, activation=True),
     ErrorCode.VM_E_PREF_NOT_FOUND),
    ("DeleteVirtualMachine", ON, lambda w: w.creation.delete(M, owner="ana"), ErrorCode.VM_E_VM_RUNNING),
    ("UnregisterVirtualMachine", PAUSED, lambda w: w.creation.unregister(M), ErrorCode.VM_E_VM_RUNNING),
    ("RegisterVirtualMachine", OFF, lambda w: w.creation.register("/nowhere/x.xml"),
     ErrorCode.ERROR_FILE_NOT_FOUND),
    ("RegisterVirtualMachine", OFF, lambda w: w.creation.register("x.xml"), ErrorCode.ERROR_BAD_PATHNAME),
    ("CreateVirtualMachine", OFF, _create(name=""), ErrorCode.VM_E_CONFIG_NO_NAME),
    ("CreateVirtualMachine", OFF, _create(name="n" * 81), ErrorCode.VM_E_CONFIG_NAME_TOO_LONG),
    ("CreateVirtualMachine", OFF, _create(name="a:b"), ErrorCode.VM_E_CONFIG_NAME_INVALID_CHAR),
    *(
        ("CreateVirtualMachine", OFF, _create(name=word), ErrorCode.ERROR_INVALID_NAME)
        for word in ("all", "And", "or", "NOT")
    ),
    ("Name", OFF, _wish(name="All"), ErrorCode.ERROR_INVALID_NAME),
    ("CreateVirtualMachine", OFF, _create(name="WEB-1"), ErrorCode.VM_E_CONFIG_DUPLICATE_NAME),
    ("CreateVirtualMachine", OFF, _create(disk_bytes=5), ErrorCode.VM_E_IMAGE_SIZE_TOO_SMALL),
    ("CreateVirtualMachine", OFF, _create(disk_bytes=1 << 60), ErrorCode.VM_E_IMAGE_SIZE_TOO_LARGE),
    ("CreateVirtualMachine", OFF, _create(source=Source.COPY, image="/nowhere/i.qcow2"),
     ErrorCode.ERROR_FILE_NOT_FOUND),
    ("CreateVirtualMachine", OFF,
     lambda w: _create(disk_bytes=1 << 30, disk_path=w.file("there.img"))(w), ErrorCode.ERROR_ALREADY_EXISTS),
    ("CreateVirtualMachine", OFF, _create(first_boot=FirstBoot(user="Ana Maria")), ErrorCode.E_INVALIDARG),
    ("CreateVirtualMachine", OFF, _create(first_boot=FirstBoot(ssh_keys=("x",))), ErrorCode.E_INVALIDARG),
    ("CreateVirtualMachine", OFF, _create(network="nowhere"), ErrorCode.VM_E_INVALID_VIRTUAL_NETWORK_ID),
]  # fmt: skip


@pytest.fixture
async def world(tmp_path: Path) -> World:
    """An inn with two machines; the second is off."""
    inn = Inn(tmp_path / "inn")
    (tmp_path / "inn").mkdir()
    await inn.open()
    await inn.add(OFF, name="db-1")
    creation = Creation(machines=inn.machines, tasks=inn.tasks, directory=lambda: str(tmp_path / "machines"))
    return World(inn=inn, made=Equipment(inn.machines), creation=creation, directory=tmp_path)


@pytest.mark.parametrize(
    ("member", "state", "call", "code"),
    [pytest.param(*row, id=f"{at}-{row[0]}-{row[1].name}-{row[3].name}") for at, row in enumerate(TABLE)],
)
async def test_a_refusal_has_the_documented_identifier(
    world: World, member: str, state: MachineState, call: Call, code: ErrorCode
) -> None:
    """It comes at the call, says what to do, and nothing has been touched: no task, and the same machine."""
    await world.inn.add(state, name=M)
    before = await world.inn.host.configurations.read(M)
    with pytest.raises(InnkeeperError) as refused:
        await call(world)
    assert refused.value.code is code, refused.value
    assert str(refused.value).endswith(".")
    if isinstance(refused.value, WrongState):
        assert refused.value.state == state.name
        assert refused.value.advice or refused.value.command
    assert await world.inn.host.configurations.read(M) == before
    assert await world.inn.tasks.list() == []


async def test_a_drive_with_something_in_it_takes_nothing_more(world: World) -> None:
    """And gives back only what it has."""
    await world.inn.add(OFF, name=M)
    drives = world.made.drives
    dvd = (await drives.add_dvd_drive(M)).target
    floppy = (await drives.add_floppy_drive(M)).target
    refusals: tuple[tuple[Callable[[], Awaitable[object]], ErrorCode], ...] = (
        (lambda: drives.release(M, dvd, Attachment.IMAGE), ErrorCode.VM_E_MEDIA_WRONG_TYPE),
        (lambda: drives.release(M, floppy, Attachment.IMAGE), ErrorCode.VM_E_NO_MEDIA_CAPTURED),
        (lambda: drives.attach_host_drive(M, dvd, "/dev/sr9"), ErrorCode.E_INVALIDARG),
        (lambda: drives.attach_image(M, floppy, "/nowhere.vfd"), ErrorCode.VM_E_IMAGE_CAPTURE_FAIL),
        (lambda: drives.attach_image(M, dvd, "/nowhere.iso"), ErrorCode.ERROR_FILE_NOT_FOUND),
    )
    for call, code in refusals:
        with pytest.raises(InnkeeperError) as refused:
            await call()
        assert refused.value.code is code
    await drives.attach_image(M, dvd, world.file())
    for again in (drives.attach_image(M, dvd, world.file()), drives.attach_host_drive(M, dvd, "/dev/sr0")):
        with pytest.raises(InnkeeperError) as refused:
            await again
        assert refused.value.code is ErrorCode.VM_E_DRIVE_IN_USE
    with pytest.raises(InnkeeperError) as refused:
        await drives.release(M, dvd, Attachment.HOST_DRIVE)
    assert refused.value.code is ErrorCode.VM_E_MEDIA_WRONG_TYPE


async def test_a_dynamic_address_is_not_set_by_hand(world: World) -> None:
    """Until it is said to be static."""
    await world.inn.add(OFF, name=M)
    adapter = await world.made.adapters.add_adapter(M)
    with pytest.raises(InnkeeperError) as refused:
        await world.made.adapters.set_mac(M, adapter.id, "52:54:00:00:00:01")
    assert refused.value.code is ErrorCode.VM_E_CANT_SET_DYNAMIC_MAC_ADDRESS


async def test_a_changed_parent_is_told_before_there_is_a_task(world: World, tmp_path: Path) -> None:
    """And accepted where that is asked for; a parent that is gone is another matter."""
    machine = await world.inn.add(OFF, name=M)
    await world.inn.machines.set_undoable(M, True)
    await world.inn.ended((await world.inn.machines.startup(M, owner="ana")).id)
    await world.inn.ended((await world.inn.machines.command(M, Command.TURN_OFF, owner="ana")).id)
    base = Path(world.inn.disk(M, "vdb"))
    assert str(base) not in [disk.path for disk in machine.disks]
    content = base.read_bytes()
    base.write_bytes(content)
    with pytest.raises(InnkeeperError) as refused:
        await world.inn.machines.startup(M, owner="ana")
    assert refused.value.code is ErrorCode.VM_E_PARENT_MODIFIED
    task = await world.inn.ended((await world.inn.machines.startup2(M, 1, owner="ana")).id)
    assert task.error_description == ""
    await world.inn.ended((await world.inn.machines.command(M, Command.TURN_OFF, owner="ana")).id)
    base.unlink()
    with pytest.raises(InnkeeperError) as refused:
        await world.inn.machines.startup(M, owner="ana")
    assert refused.value.code is ErrorCode.VM_E_PARENT_PATH_NOT_FOUND
