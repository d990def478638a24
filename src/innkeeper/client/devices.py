"""Use the devices of a machine; each member is read, and set, when it is used."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel

from innkeeper.client.calls import machine_parts as calls
from innkeeper.client.disks import HardDisk
from innkeeper.client.transport import Transport
from innkeeper.errors import ErrorCode, InvalidArgument, MachineError
from innkeeper.wire import configuration as wire
from innkeeper.wire.messages import Nothing
from innkeeper.wire.virtual_pc import Attachment, SerialPortType

Said = TypeVar("Said", bound=BaseModel)


class _Device:
    """One device of one machine."""

    def __init__(self, transport: Transport, machine: str) -> None:
        self._transport = transport
        self._machine = machine

    def _made(self) -> wire.ConfigurationMessage:
        return self._send("GET", "configuration", wire.ConfigurationMessage)

    def _send(
        self, method: str, what: str, answer: type[Said], body: BaseModel | None = None, **query: str | bool
    ) -> Said:
        return self._transport.send(calls.part(method, self._machine, what, answer, body, **query))

    def _gone(self, what: str, code: ErrorCode = ErrorCode.VM_E_DRIVE_INVALID) -> MachineError:
        return MachineError(
            f"{self._machine} has no {what}.",
            machine=self._machine,
            code=code,
            advice=f"innkeeper machine show {self._machine} lists its devices.",
        )


class _Drive(_Device):
    """One drive of one machine."""

    def __init__(self, transport: Transport, machine: str, target: str) -> None:
        super().__init__(transport, machine)
        #: The name inside the machine's definition: ``vda``.
        self.target = target

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.target} of {self._machine}>"

    def read(self) -> wire.DriveMessage:
        """All that is known of it. Raises ``MachineError`` (VM_E_DRIVE_INVALID) where it is gone."""
        for drive in self._made().drives:
            if drive.target == self.target:
                return drive
        raise self._gone(f"drive {self.target}")


class _LocatedDrive(_Drive):
    """A drive at a bus location."""

    @property
    def bus_number(self) -> int:
        """The bus that it is attached to (``BusNumber``)."""
        return self.read().bus_number

    @property
    def device_number(self) -> int:
        """Which of the bus's two devices it is (``DeviceNumber``)."""
        return self.read().device_number

    def set_bus_location(self, bus_number: int, device_number: int) -> None:
        """Attach it elsewhere (``SetBusLocation``), while the machine is off; its name follows."""
        request = wire.LocationRequest(bus_number=bus_number, device_number=device_number)
        moved = self._send("PUT", f"drives/{self.target}/location", wire.DriveMessage, request)
        self.target = moved.target


class HardDiskConnection(_LocatedDrive):
    """The connection of a machine to one hard disk (``IVMHardDiskConnection``)."""

    @property
    def hard_disk(self) -> HardDisk:
        """The disk itself, below its undo disk (``HardDisk``)."""
        return HardDisk(self._transport, self.read().hard_disk)

    @property
    def undo_hard_disk(self) -> HardDisk:
        """The undo disk over it (``UndoHardDisk``). Raises ERROR_FILE_NOT_FOUND where there is none."""
        undo = self.read().undo_disk
        if not undo:
            raise self._gone(f"undo disk over {self.target}", ErrorCode.ERROR_FILE_NOT_FOUND)
        return HardDisk(self._transport, undo)


class _MediaDrive(_Drive):
    """A drive whose medium can be changed, also while the machine runs."""

    def attach_image(self, path: str) -> None:
        """Put an image into it (``AttachImage``). Raises VM_E_DRIVE_IN_USE where something is in it."""
        self._attach(Attachment.IMAGE, path)

    def attach_host_drive(self, device: str) -> None:
        """Give it the host's own drive, such as ``/dev/sr0`` (``AttachHostDrive``)."""
        self._attach(Attachment.HOST_DRIVE, device)

    def release_image(self) -> None:
        """Take the image out of it (``ReleaseImage``). Raises VM_E_MEDIA_WRONG_TYPE where none is in it."""
        self._release(Attachment.IMAGE)

    def release_host_drive(self) -> None:
        """Give the host's drive back (``ReleaseHostDrive``)."""
        self._release(Attachment.HOST_DRIVE)

    @property
    def attachment(self) -> Attachment:
        """The medium in the drive (``Attachment``)."""
        return self.read().attachment

    @property
    def image_file(self) -> str:
        """The image in it (``ImageFile``). Raises VM_E_MEDIA_WRONG_TYPE where something else is."""
        return self._path_of(Attachment.IMAGE)

    @property
    def host_drive_letter(self) -> str:
        """The host's drive that it has, as a device's path (``HostDriveLetter``)."""
        return self._path_of(Attachment.HOST_DRIVE)

    def _attach(self, attachment: Attachment, path: str) -> None:
        request = wire.MediumRequest(attachment=attachment, path=path)
        self._send("PUT", f"drives/{self.target}/medium", wire.DriveMessage, request)

    def _release(self, attachment: Attachment) -> None:
        what = f"drives/{self.target}/medium"
        self._send("DELETE", what, wire.DriveMessage, attachment=attachment.name)

    def _path_of(self, attachment: Attachment) -> str:
        drive = self.read()
        if drive.attachment is not attachment:
            raise MachineError(
                f"The drive {self.target} of {self._machine} has another medium in it, or none.",
                machine=self._machine,
                code=ErrorCode.VM_E_MEDIA_WRONG_TYPE,
                advice="Look at the drive's attachment.",
            )
        return drive.path


class DVDDrive(_MediaDrive, _LocatedDrive):
    """One DVD drive of a machine (``IVMDVDDrive``)."""


class FloppyDrive(_MediaDrive):
    """One floppy drive of a machine (``IVMFloppyDrive``)."""

    @property
    def drive_number(self) -> int:
        """Which of the controller's drives it is, from 0 (``DriveNumber``)."""
        drive = self.read()
        return 2 * drive.bus_number + drive.device_number


class NetworkAdapter(_Device):
    """One network adapter of a machine (``IVMNetworkAdapter``)."""

    def __init__(self, transport: Transport, machine: str, adapter_id: int) -> None:
        super().__init__(transport, machine)
        #: A number that stays with it while no adapter before it is taken out (``_ID``).
        self.id = adapter_id

    def __repr__(self) -> str:
        return f"<NetworkAdapter {self.id} of {self._machine}>"

    id: int

    def read(self) -> wire.AdapterMessage:
        """All that is known of it. Raises ``MachineError`` where it is gone."""
        for adapter in self._made().adapters:
            if adapter.id == self.id:
                return adapter
        raise self._gone(f"network adapter {self.id}", ErrorCode.E_INVALIDARG)

    def attach_to_virtual_network(self, network: str) -> None:
        """Attach it to a network (``AttachToVirtualNetwork``). Raises VM_E_INVALID_VIRTUAL_NETWORK_ID."""
        self._change(wire.AdapterChange(network=network))

    def detach_from_virtual_network(self) -> None:
        """Take its cable out (``DetachFromVirtualNetwork``)."""
        self._change(wire.AdapterChange(network=""))

    @property
    def virtual_network(self) -> str | None:
        """The network that it is attached to (``VirtualNetwork``); ``None`` where its cable is out."""
        return self.read().network or None

    @property
    def virtual_machine(self) -> str:
        """The name of the machine that it belongs to (``VirtualMachine``)."""
        return self._machine

    @property
    def ethernet_address(self) -> str:
        """The adapter's Ethernet address (``EthernetAddress``). Set it while the machine is off."""
        return self.read().mac

    @ethernet_address.setter
    def ethernet_address(self, address: str) -> None:
        self._change(wire.AdapterChange(mac=address))

    @property
    def is_ethernet_address_dynamic(self) -> bool:
        """Whether Innkeeper made its address (``IsEthernetAddressDynamic``)."""
        return self.read().dynamic

    @is_ethernet_address_dynamic.setter
    def is_ethernet_address_dynamic(self, dynamic: bool) -> None:
        self._change(wire.AdapterChange(dynamic=dynamic))

    def _change(self, change: wire.AdapterChange) -> None:
        self._send("PATCH", f"adapters/{self.id}", wire.AdapterMessage, change)


class SerialPort(_Device):
    """One serial port of a machine (``IVMSerialPort``)."""

    id: int

    def __init__(self, transport: Transport, machine: str, number: int) -> None:
        super().__init__(transport, machine)
        #: Its number, from 0 (``_ID``).
        self.id = number

    def read(self) -> wire.SerialPortMessage:
        """All that is known of it. Raises ``MachineError`` where it is gone."""
        for port in self._made().serial_ports:
            if port.id == self.id:
                return port
        raise self._gone(f"serial port {self.id}", ErrorCode.E_INVALIDARG)

    def configure(self, port_type: SerialPortType, name: str = "", connect_immediately: bool = False) -> None:
        """Join it to a device, file or socket of the host, from the next start on (``Configure``)."""
        if port_type not in list(SerialPortType):
            raise InvalidArgument(f"There is no serial port type {port_type}.", advice="0 to 3 are known.")
        request = wire.SerialPortRequest(
            type=SerialPortType(port_type), name=name, connect_immediately=connect_immediately
        )
        self._send("PUT", f"serial-ports/{self.id}", wire.SerialPortMessage, request)

    def remove(self) -> None:
        """Take it out; the last one can be."""
        self._send("DELETE", f"serial-ports/{self.id}", Nothing)

    @property
    def connect_immediately(self) -> bool:
        """Kept, and without effect (``ConnectImmediately``): QEMU opens it when the machine starts."""
        return self.read().connect_immediately

    @property
    def name(self) -> str:
        """The path of what it is joined to (``Name``)."""
        return self.read().name

    @property
    def type(self) -> SerialPortType:
        """The kind of the port's connection (``Type``)."""
        return self.read().type


class ParallelPort(_Device):
    """One parallel port of a machine (``IVMParallelPort``)."""

    id: int

    def __init__(self, transport: Transport, machine: str, number: int) -> None:
        super().__init__(transport, machine)
        #: Its number, from 0 (``_ID``).
        self.id = number

    @property
    def name(self) -> str:
        """The path of what it is joined to (``Name``); setting it to nothing takes the port out."""
        for port in self._made().parallel_ports:
            if port.id == self.id:
                return port.name
        raise self._gone(f"parallel port {self.id}", ErrorCode.E_INVALIDARG)

    @name.setter
    def name(self, name: str) -> None:
        request = wire.ParallelPortRequest(name=name)
        self._send("PUT", f"parallel-ports/{self.id}", wire.ParallelPortMessage, request)
