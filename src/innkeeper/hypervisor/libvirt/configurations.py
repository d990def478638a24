"""Hardware and settings of a libvirt host's machines: in their definitions, and live while they run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import libvirt

from innkeeper.errors import ErrorCode, MachineError
from innkeeper.hypervisor.domain.editing import device_of, edited, usb_element
from innkeeper.hypervisor.domain.extras import NAMESPACE, PREFIX, extras_text
from innkeeper.hypervisor.domain.fields import written
from innkeeper.hypervisor.domain.reading import configuration_of
from innkeeper.hypervisor.libvirt.announcer import Announcer
from innkeeper.hypervisor.libvirt.connection import Connection
from innkeeper.hypervisor.libvirt.definition import Definition
from innkeeper.hypervisor.libvirt.domains import Domains, redefine
from innkeeper.hypervisor.libvirt.images import Images
from innkeeper.hypervisor.libvirt.states import SavedImage
from innkeeper.hypervisor.libvirt.trays import Trays
from innkeeper.hypervisor.libvirt.uris import HostUri
from innkeeper.hypervisor.local_facts import local_processor_mhz
from innkeeper.machines.change import (
    AdapterAttached,
    Change,
    MediumChanged,
    MetadataChanged,
    Scope,
    SettingsChanged,
    UsbAttached,
    UsbDetached,
    ValueSet,
)
from innkeeper.machines.change_events import change_events, setting_changed
from innkeeper.machines.configuration import Configuration, Extras
from innkeeper.machines.description import Follow, MachineDescription, follow_none

_PERSISTENT = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
_AFFECT = {
    Scope.PERSISTENT: libvirt.VIR_DOMAIN_AFFECT_CONFIG,
    Scope.RUNNING: libvirt.VIR_DOMAIN_AFFECT_LIVE,
}
#: Settings that libvirt takes for metadata, and which.
_METADATA: Mapping[str, int] = {"notes": libvirt.VIR_DOMAIN_METADATA_DESCRIPTION}
#: Settings that Innkeeper keeps in an element of its own.
_NOTED = frozenset(field.name for field in dataclasses.fields(Extras))


class LibvirtConfigurations:
    """The configurations of one host's machines (``machines.ports.configurations.Configurations``)."""

    def __init__(
        self,
        *,
        uri: HostUri,
        connection: Connection,
        domains: Domains,
        images: Images,
        announcer: Announcer,
        trays: Trays,
    ) -> None:
        self._uri = uri
        self._connection = connection
        self._domains = domains
        self._images = images
        self._announcer = announcer
        self._trays = trays

    async def read(self, name: str, *, running: bool = False) -> Configuration:
        """The configuration for the next start, or the one in use."""
        return await self._connection.ask(lambda c: _read(c.lookupByName(name), running), "read", name)

    async def read_all(self) -> Mapping[str, Configuration]:
        """The configuration for the next start of every machine."""

        def look(connect: libvirt.virConnect) -> dict[str, Configuration]:
            return {domain.name(): _read(domain, running=False) for domain in connect.listAllDomains()}

        return await self._connection.ask(look, "read the configurations of the machines")

    async def describe(
        self, name: str, *, running: bool = False, follow: Follow = follow_none
    ) -> MachineDescription:
        """A machine with its configuration and its files."""

        def look(connect: libvirt.virConnect) -> MachineDescription:
            domain = connect.lookupByName(name)
            configuration = _read(domain, running)
            paths = [drive.path for drive in configuration.drives if follow(drive.path)]
            return MachineDescription(
                machine=self._domains.machine(connect, name),
                configuration=configuration,
                definition_path=str(self._uri.definition_file(name) or ""),
                saved_state_path=self._saved_state_path(domain),
                chains={path: [each for each, _ in self._images.chain(connect, path)] for path in paths},
                processor_mhz=self._processor_mhz(connect),
            )

        return await self._connection.ask(look, "read", name)

    async def change(self, name: str, change: Change, scope: Scope = Scope.PERSISTENT) -> None:
        """Change the configuration, and publish what was changed."""
        with self._trays.changing(name):
            await self._change(name, change, scope)
        for kind, data in change_events(change):
            self._announcer.publish(kind, name, data)

    async def set_autostart(self, name: str, autostart: bool) -> None:
        """Set whether the machine starts with its host."""

        def work(connect: libvirt.virConnect) -> None:
            connect.lookupByName(name).setAutostart(int(autostart))

        await self._connection.command(work, "set the autostart of", name)
        kind, data = setting_changed("autostart", autostart)
        self._announcer.publish(kind, name, data)

    def _saved_state_path(self, domain: libvirt.virDomain) -> str:
        if self._domains.saved_image(domain) is not SavedImage.WHOLE:
            return ""
        return str(self._uri.saved_image(domain.name()) or "")

    def _processor_mhz(self, connect: libvirt.virConnect) -> int:
        if self._uri.is_local and not self._uri.is_test:
            return local_processor_mhz()
        return int(connect.getInfo()[3])

    async def _change(self, name: str, change: Change, scope: Scope) -> None:
        def work(connect: libvirt.virConnect) -> None:
            domain = connect.lookupByName(name)
            live = scope is not Scope.PERSISTENT and bool(domain.isActive())
            if isinstance(change, UsbAttached | UsbDetached):
                _change_usb(domain, change)
                return
            if live:
                _change_live(domain, change)
            if scope is not Scope.RUNNING:
                _change_persistent(connect, domain, change)

        await self._connection.command(work, "change", name)


def _read(domain: libvirt.virDomain, running: bool) -> Configuration:
    return configuration_of(str(domain.XMLDesc(0 if running else _PERSISTENT)))


def _change_persistent(connect: libvirt.virConnect, domain: libvirt.virDomain, change: Change) -> None:
    definition = edited(domain.XMLDesc(_PERSISTENT), change)
    if _is_metadata(change):
        _write_metadata(domain, definition, change, Scope.PERSISTENT)
        _drop_empty_metadata(connect, domain)
    else:
        connect.defineXML(definition)


def _change_live(domain: libvirt.virDomain, change: Change) -> None:
    definition = edited(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE), change)
    if _is_metadata(change):
        _write_metadata(domain, definition, change, Scope.RUNNING)
    elif isinstance(change, MediumChanged | AdapterAttached):
        domain.updateDeviceFlags(device_of(definition, change), libvirt.VIR_DOMAIN_AFFECT_LIVE)
    else:
        raise TypeError(f"{type(change).__name__} is not a change of a running machine")


def _is_metadata(change: Change) -> bool:
    """Whether libvirt takes it up by itself, in every state and without a new definition."""
    if isinstance(change, SettingsChanged):
        return change.values.keys() <= _METADATA.keys() | _NOTED
    return isinstance(change, MetadataChanged | ValueSet)


def _write_metadata(domain: libvirt.virDomain, definition: str, change: Change, scope: Scope) -> None:
    """Write the metadata alone: the machine's other fields may be changing at the same moment."""
    wanted = configuration_of(definition)
    changed = set(change.values) if isinstance(change, SettingsChanged) else set()
    settings: Mapping[str, object] = {**wanted.settings}
    for key in changed & _METADATA.keys():
        text = settings[key] or None
        domain.setMetadata(_METADATA[key], text, None, None, _AFFECT[scope])
    if not isinstance(change, SettingsChanged) or changed & _NOTED:
        extras = None if wanted.extras == Extras() else extras_text(wanted.extras)
        domain.setMetadata(
            libvirt.VIR_DOMAIN_METADATA_ELEMENT, extras, PREFIX if extras else None, NAMESPACE, _AFFECT[scope]
        )


def _drop_empty_metadata(connect: libvirt.virConnect, domain: libvirt.virDomain) -> None:
    """Leave the definition as it was before: libvirt keeps the element that the last note was taken from."""
    definition = Definition.parse(domain.XMLDesc(_PERSISTENT))
    metadata = definition.node.find("metadata")
    if metadata is None or len(metadata):
        return
    definition.node.remove(metadata)
    try:
        redefine(connect, definition)
    except libvirt.libvirtError as error:
        # A host that has lost KVM takes no definition that asks for it; an empty element means nothing.
        if error.get_error_code() != libvirt.VIR_ERR_CONFIG_UNSUPPORTED:
            raise


def _change_usb(domain: libvirt.virDomain, change: UsbAttached | UsbDetached) -> None:
    device = written(usb_element(change))
    attaching = isinstance(change, UsbAttached)
    try:
        if attaching:
            domain.attachDeviceFlags(device, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        else:
            domain.detachDeviceFlags(device, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    except libvirt.libvirtError as error:
        verb = "attached to" if attaching else "detached from"
        raise MachineError(
            f"The USB device {change.address.bus}:{change.address.device} could not be {verb} "
            f"{domain.name()}: {error.get_error_message()}.",
            machine=domain.name(),
            code=ErrorCode.VM_E_USB_ATTACH_FAILED if attaching else ErrorCode.VM_E_USB_DETACH_FAILED,
            advice="innkeeper host usb lists the host's devices, and who has them.",
        ) from error
