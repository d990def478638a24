"""Read and change how a machine is made (the properties of ``IVMVirtualMachine``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar, Unpack, cast

from pydantic import BaseModel

from innkeeper.client.calls import machine_parts as calls
from innkeeper.client.calls.call import quoted
from innkeeper.client.devices import (
    DVDDrive,
    FloppyDrive,
    HardDiskConnection,
    NetworkAdapter,
    ParallelPort,
    SerialPort,
)
from innkeeper.client.tasks import Task
from innkeeper.client.transport import Transport
from innkeeper.errors import ErrorCode, MachineError
from innkeeper.wire import configuration as wire
from innkeeper.wire.machine_settings import (
    SETTINGS,
    DeclaredSetting,
    MachineChanges,
    SettingsInPython,
)
from innkeeper.wire.messages import Accepted, Nothing, checked
from innkeeper.wire.setting import SettingValue
from innkeeper.wire.virtual_pc import DriveBus, DriveType, StartupOption

Said = TypeVar("Said", bound=BaseModel)

#: A configuration value: raw bytes, a string, an integer or a truth.
Value = bytes | str | int | bool


class ConfiguredMachine(SettingsInPython):
    """Configuration of one machine. Each property is read, and set, when it is used.

    Those that can be set are declared in ``wire.machine_settings``, with their limits.
    """

    def __init__(self, transport: Transport, name: str) -> None:
        self._transport = transport
        self._name = name

    # What it is

    @property
    def name(self) -> str:
        """The machine's name (``Name``): at most 80 characters, unique whatever the case.

        Setting it raises ``InvalidArgument`` (VM_E_CONFIG_NO_NAME, VM_E_CONFIG_NAME_TOO_LONG,
        VM_E_CONFIG_NAME_INVALID_CHAR, VM_E_CONFIG_DUPLICATE_NAME) or ``WrongState`` (VM_E_PREF_VM_ACTIVE).
        """
        return self._name

    @name.setter
    def name(self, name: str) -> None:
        self._name = self.change(name=name).name
        for kept in ("keyboard", "mouse"):  # they know it by its former name
            vars(self).pop(kept, None)

    @property
    def config_id(self) -> str:
        """The machine's UUID (``ConfigID``)."""
        return self.configuration().uuid

    @property
    def file(self) -> str:
        """The file of its definition (``File``); empty where it lies on another computer."""
        return self.configuration().file

    @property
    def labels(self) -> tuple[str, ...]:
        """The words that people sort it by; roles, windows and pages know them."""
        return self.configuration().labels

    def add_labels(self, *labels: str) -> tuple[str, ...]:
        """Give it labels; returns all that it has."""
        request = wire.LabelsRequest(labels=labels)
        return self._send("POST", "labels", wire.LabelsMessage, request).labels

    def remove_label(self, label: str) -> tuple[str, ...]:
        """Take a label from it; returns what it still has."""
        return self._send("DELETE", f"labels/{quoted(label)}", wire.LabelsMessage).labels

    @property
    def ignored(self) -> tuple[str, ...]:
        """What counts against no update of it: subjects of findings, or patterns of them."""
        return self._send("GET", "ignored", wire.IgnoredMessage).ignored

    def ignore(self, *subjects: str) -> tuple[str, ...]:
        """Count findings against no update of it any more; returns all that are ignored."""
        return self._send(
            "POST", "ignored", wire.IgnoredMessage, wire.IgnoredRequest(subjects=subjects)
        ).ignored

    def stop_ignoring(self, subject: str) -> tuple[str, ...]:
        """Count a finding again; returns what is still ignored."""
        return self._send("DELETE", f"ignored/{quoted(subject)}", wire.IgnoredMessage).ignored

    # What it has

    @property
    def has_mmx(self) -> bool:
        """Whether its processor has MMX (``HasMMX``): every x86-64 processor has."""
        return bool(self.configuration())

    @property
    def has_sse(self) -> bool:
        """Whether its processor has SSE (``HasSSE``): every x86-64 processor has."""
        return bool(self.configuration())

    @property
    def has_sse2(self) -> bool:
        """Whether its processor has SSE2 (``HasSSE2``): every x86-64 processor has."""
        return bool(self.configuration())

    @property
    def has_3dnow(self) -> bool:
        """Whether its processor has 3DNow! (``Has3DNow``): none that QEMU offers by itself has."""
        return not self.configuration()

    @property
    def processor_speed(self) -> int:
        """The speed of its host's processor, in MHz (``ProcessorSpeed``): it has none of its own."""
        return self.configuration().processor_mhz

    # What happens to it

    @property
    def saved_state_file_path(self) -> str:
        """The file of its saved state (``SavedStateFilePath``). Raises VM_E_VM_NO_SAVED_STATE for none."""
        path = self.configuration().saved_state_path
        if not path:
            raise MachineError(
                f"{self.name} has no saved state.",
                machine=self.name,
                code=ErrorCode.VM_E_VM_NO_SAVED_STATE,
                advice="Save it first.",
            )
        return path

    def startup2(self, option: StartupOption) -> Task:
        """Start it with an option (``Startup2``)."""
        request = wire.StartupRequest(option=option)
        return Task(self._transport, self._send("POST", "startup2", Accepted, request).task)

    # Its devices

    @property
    def hard_disk_connections(self) -> Sequence[HardDiskConnection]:
        """The machine's hard disks (``HardDiskConnections``)."""
        return self._drives(HardDiskConnection, "disk", "lun")

    def add_hard_disk_connection(
        self,
        path: str,
        bus_number: int | None = None,
        device_number: int | None = None,
        *,
        image_format: str = "",
        bus: DriveBus | None = None,
    ) -> HardDiskConnection:
        """Connect a hard disk (``AddHardDiskConnection``); at the first free location where none is named."""
        request = wire.HardDiskRequest(
            path=path, bus_number=bus_number, device_number=device_number, format=image_format, bus=bus
        )
        drive = self._send("POST", "hard-disks", wire.DriveMessage, request)
        return HardDiskConnection(self._transport, self.name, drive.target)

    def remove_hard_disk_connection(self, connection: HardDiskConnection) -> None:
        """Take a hard disk out (``RemoveHardDiskConnection``); its image stays."""
        self._send("DELETE", f"hard-disks/{connection.target}", Nothing)

    @property
    def dvd_rom_drives(self) -> Sequence[DVDDrive]:
        """The machine's DVD drives (``DVDROMDrives``)."""
        return self._drives(DVDDrive, "cdrom")

    def add_dvd_rom_drive(self, bus_number: int | None = None, device_number: int | None = None) -> DVDDrive:
        """Add an empty DVD drive (``AddDVDROMDrive``)."""
        request = wire.DriveRequest(bus_number=bus_number, device_number=device_number)
        drive = self._send("POST", "dvd-drives", wire.DriveMessage, request)
        return DVDDrive(self._transport, self.name, drive.target)

    def remove_dvd_rom_drive(self, drive: DVDDrive) -> None:
        """Take a DVD drive out (``RemoveDVDROMDrive``)."""
        self._send("DELETE", f"dvd-drives/{drive.target}", Nothing)

    @property
    def floppy_drives(self) -> Sequence[FloppyDrive]:
        """The machine's floppy drives (``FloppyDrives``)."""
        return self._drives(FloppyDrive, "floppy")

    def add_floppy_drive(self) -> FloppyDrive:
        """Add an empty floppy drive. (Not in the documentation, where every machine has one.)"""
        drive = self._send("POST", "floppy-drives", wire.DriveMessage)
        return FloppyDrive(self._transport, self.name, drive.target)

    def remove_floppy_drive(self, drive: FloppyDrive) -> None:
        """Take a floppy drive out."""
        self._send("DELETE", f"floppy-drives/{drive.target}", Nothing)

    @property
    def network_adapters(self) -> Sequence[NetworkAdapter]:
        """The machine's network adapters (``NetworkAdapters``)."""
        return [NetworkAdapter(self._transport, self.name, each.id) for each in self.configuration().adapters]

    def add_network_adapter(
        self, network: str = "", *, ethernet_address: str = "", model: str = "virtio"
    ) -> NetworkAdapter:
        """Add a network adapter (``AddNetworkAdapter``), unplugged where no network is named."""
        request = wire.AdapterRequest(network=network, mac=ethernet_address, model=model)
        adapter = self._send("POST", "adapters", wire.AdapterMessage, request)
        return NetworkAdapter(self._transport, self.name, adapter.id)

    def remove_network_adapter(self, adapter: NetworkAdapter) -> None:
        """Take a network adapter out (``RemoveNetworkAdapter``)."""
        self._send("DELETE", f"adapters/{adapter.id}", Nothing)

    @property
    def serial_ports(self) -> Sequence[SerialPort]:
        """The machine's serial ports (``SerialPorts``)."""
        return [SerialPort(self._transport, self.name, each.id) for each in self.configuration().serial_ports]

    def serial_port(self, number: int) -> SerialPort:
        """The serial port of this number, which ``configure`` adds where it is not there."""
        return SerialPort(self._transport, self.name, number)

    @property
    def parallel_ports(self) -> Sequence[ParallelPort]:
        """The machine's parallel ports (``ParallelPorts``)."""
        return [
            ParallelPort(self._transport, self.name, each.id) for each in self.configuration().parallel_ports
        ]

    def parallel_port(self, number: int) -> ParallelPort:
        """The parallel port of this number, which a name adds where it is not there."""
        return ParallelPort(self._transport, self.name, number)

    @property
    def attached_drive_types(self) -> Sequence[Sequence[DriveType]]:
        """What is attached at each location: a bus a row, two devices to each (``AttachedDriveTypes``)."""
        drives = [each for each in self.configuration().drives if each.device != "floppy"]
        kinds = {
            (each.bus_number, each.device_number): DriveType.DVD
            if each.device == "cdrom"
            else DriveType.HARD_DISK
            for each in drives
        }
        buses = max([1, *(bus for bus, _ in kinds)]) + 1
        return [[kinds.get((bus, device), DriveType.NULL) for device in (0, 1)] for bus in range(buses)]

    def attach_usb_device(self, bus: int, device: int) -> None:
        """Give it a USB device of its host while it runs (``AttachUSBDevice``)."""
        self._send("POST", "usb", Nothing, wire.UsbRequest(bus=bus, device=device))

    def detach_usb_device(self, bus: int, device: int) -> None:
        """Give a USB device back to the host (``DetachUSBDevice``)."""
        self._send("DELETE", f"usb/{bus}/{device}", Nothing)

    # Its values

    def configuration_values(self, *, activation: bool = False) -> Mapping[str, Value]:
        """All its configuration values, or with ``activation`` all its activation values."""
        values = self._send("GET", "values", wire.ValueList, activation=activation).values
        return {each.key: each.message for each in values}

    def get_configuration_value(self, key: str) -> Value:
        """One configuration value (``GetConfigurationValue``). Raises VM_E_PREF_NOT_FOUND."""
        return self._get_value(key, activation=False)

    def set_configuration_value(self, key: str, value: Value) -> None:
        """Set a configuration value (``SetConfigurationValue``)."""
        self._set_value(key, value, activation=False)

    def remove_configuration_value(self, key: str) -> None:
        """Remove a configuration value (``RemoveConfigurationValue``)."""
        self._send("DELETE", "value", Nothing, key=key)

    def get_activation_value(self, key: str) -> Value:
        """One activation value (``GetActivationValue``): a copy made at the start, while it runs."""
        return self._get_value(key, activation=True)

    def set_activation_value(self, key: str, value: Value) -> None:
        """Set an activation value (``SetActivationValue``), which lasts until it is off."""
        self._set_value(key, value, activation=True)

    def remove_activation_value(self, key: str) -> None:
        """Remove an activation value (``RemoveActivationValue``)."""
        self._send("DELETE", "value", Nothing, key=key, activation=True)

    # All at once

    def configuration(self, *, running: bool = False) -> wire.ConfigurationMessage:
        """Return the machine's configuration: as it starts, or with ``running`` as it runs."""
        return self._send("GET", "configuration", wire.ConfigurationMessage, running=running)

    def change(self, **changes: Unpack[MachineChanges]) -> wire.ConfigurationMessage:
        """Change several settings at once, or none of them, by their names in JSON."""
        with checked():
            request = wire.ChangeRequest.model_validate(changes)
        return self._send("PATCH", "", wire.ConfigurationMessage, request)

    # Machinery

    def _drives(self, kind: type[DriveKind], *devices: str) -> list[DriveKind]:
        drives = (each for each in self.configuration().drives if each.device in devices)
        return [kind(self._transport, self.name, each.target) for each in drives]

    def _get_value(self, key: str, *, activation: bool) -> Value:
        return self._send("GET", "value", wire.ValueMessage, key=key, activation=activation).message

    def _set_value(self, key: str, value: Value, *, activation: bool) -> None:
        with checked():
            message = wire.value_message(key, value)
        request = wire.ValueRequest(key=key, kind=message.kind, value=message.value, activation=activation)
        self._send("PUT", "value", wire.ValueMessage, request)

    def _send(
        self, method: str, what: str, answer: type[Said], body: BaseModel | None = None, **query: str | bool
    ) -> Said:
        return self._transport.send(calls.part(method, self.name, what, answer, body, **query))


def _property(declared: DeclaredSetting) -> property:
    """The property of a setting: read from the service, and changed there."""

    def read(machine: ConfiguredMachine) -> object:
        return getattr(machine.configuration(), declared.key)

    def change(machine: ConfiguredMachine, value: SettingValue) -> None:
        wanted = cast("MachineChanges", {declared.key: value})
        machine.change(**wanted)

    return property(read, change, doc=declared.setting.description)


for _setting in SETTINGS.values():
    if _setting.key != "name":  # the name is what the machine is found by
        setattr(ConfiguredMachine, _setting.member, _property(_setting))


DriveKind = TypeVar("DriveKind", HardDiskConnection, DVDDrive, FloppyDrive)
