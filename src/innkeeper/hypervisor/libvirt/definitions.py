"""Persistent definitions of a libvirt host's machines."""

from __future__ import annotations

import contextlib

import libvirt

from innkeeper.errors import MachineNotFound, WrongState
from innkeeper.hypervisor.domain.template import Platform, domain_type, template
from innkeeper.hypervisor.libvirt.announcer import Announcer
from innkeeper.hypervisor.libvirt.connection import Connection
from innkeeper.hypervisor.libvirt.definition import Definition
from innkeeper.hypervisor.libvirt.domains import Domains
from innkeeper.hypervisor.libvirt.information import LibvirtInformation
from innkeeper.hypervisor.libvirt.inventory import LibvirtInventory
from innkeeper.hypervisor.libvirt.saved_states import LibvirtSavedStates
from innkeeper.hypervisor.libvirt.uris import HostUri
from innkeeper.machines.machine import Machine, MachineState
from innkeeper.machines.new_machine import NewMachine
from innkeeper.machines.ports.image_files import ImageFiles
from innkeeper.machines.ports.image_maker import ImageMaker
from innkeeper.wire.events import EventKind

_OFF = frozenset({MachineState.TURNED_OFF, MachineState.SAVED})
_TURNED_OFF = frozenset({MachineState.TURNED_OFF})
#: A saved state has been moved away by then.
_FORGET_DEFINITION = (
    libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
)
_FORGET_ALL = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
)


class LibvirtDefinitions:
    """The definitions of one host's machines (``machines.ports.definitions.Definitions``)."""

    def __init__(
        self,
        *,
        uri: HostUri,
        connection: Connection,
        domains: Domains,
        announcer: Announcer,
        inventory: LibvirtInventory,
        information: LibvirtInformation,
        saved_states: LibvirtSavedStates,
        files: ImageFiles,
        images: ImageMaker,
    ) -> None:
        self._uri = uri
        self._connection = connection
        self._domains = domains
        self._announcer = announcer
        self._inventory = inventory
        self._information = information
        self._saved_states = saved_states
        self._files = files
        self._images = images

    async def read(self, name: str) -> str:
        """The persistent definition, without passwords."""

        def look(connect: libvirt.virConnect) -> str:
            return str(connect.lookupByName(name).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))

        return await self._connection.ask(look, "read", name)

    async def path(self, name: str) -> str:
        """The file in which libvirt keeps the definition."""
        return str(self._uri.definition_file(name) or "")

    async def define(self, definition: str) -> Machine:
        """Make or change a machine's persistent definition."""
        name = Definition.parse(definition).name

        def work(connect: libvirt.virConnect) -> Machine:
            return self._domains.machine(connect, connect.defineXML(definition).name())

        return await self._connection.command(work, "define", name)

    async def define_new(self, wanted: NewMachine) -> Machine:
        """Define a new machine. One of this name that is there stays as it is."""
        with contextlib.suppress(MachineNotFound):
            return await self._inventory.get(wanted.name)
        if self._uri.is_test:
            platform = Platform(domain_type="test", is_qemu=False)
        else:
            platform = Platform(domain_type=domain_type((await self._information.acceleration()).accelerator))
        return await self.define(template(wanted, platform))

    async def rename(self, name: str, new_name: str) -> None:
        """Rename a machine that is off."""

        def work(connect: libvirt.virConnect) -> None:
            known = {domain.name() for domain in connect.listAllDomains()}
            if name not in known and new_name in known:
                return
            domain = connect.lookupByName(name)
            self._domains.require(domain, _TURNED_OFF, "be renamed")
            domain.rename(new_name)

        await self._connection.command(work, "rename", name)
        self._announcer.say(EventKind.MACHINE_UNDEFINED, name, "renamed")
        self._announcer.say(EventKind.MACHINE_DEFINED, new_name, "renamed")

    async def undefine(self, name: str) -> None:
        """Delete the definition of a machine that is off; its disks stay."""

        def work(connect: libvirt.virConnect) -> None:
            domain = connect.lookupByName(name)
            self._domains.require(domain, _OFF, "be forgotten")
            domain.undefineFlags(0 if self._uri.is_test else _FORGET_ALL)

        await self._connection.command(work, "forget", name)

    async def release(self, name: str, saved_state: str) -> None:
        """Delete the definition of a machine that is off or saved; its NVRAM and saved state are kept."""
        with contextlib.suppress(MachineNotFound):
            state = (await self._inventory.get(name)).state
            if state is MachineState.SAVED:
                await self._images.move(await self._saved_states.path(name), saved_state)
            await self._connection.command(lambda c: _release(c.lookupByName(name)), "release", name)

    async def take_in(self, definition: str, saved_state: str) -> Machine:
        """Define a released machine again, with its saved state."""
        machine = await self.define(definition)
        image = self._uri.saved_image(machine.name) if self._uri.is_local else None
        if image is not None and await self._files.identity(saved_state) is not None:
            await self._images.move(saved_state, str(image))
        return await self._inventory.get(machine.name)


def _release(domain: libvirt.virDomain) -> None:
    if domain.isActive():
        raise WrongState.of(domain.name(), MachineState.RUNNING, "be unregistered")
    try:
        domain.undefineFlags(_FORGET_DEFINITION)
    except libvirt.libvirtError as error:
        # libvirt's made-up machines have nothing but a definition.
        if "unsupported flags" not in error.get_error_message():
            raise
        domain.undefine()
