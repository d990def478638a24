"""Definitions of machines on undo disks: noted, pointed at overlays, and put back as they were."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import libvirt

from innkeeper.errors import DiskError, ErrorCode, MachineUnfit
from innkeeper.hypervisor.domain.fields import written
from innkeeper.hypervisor.domain.undo_note import (
    NAMESPACE,
    PREFIX,
    NotedDisk,
    forget_note,
    note_text,
    noted_disks,
    put_back,
    read_note,
    stand_on_overlay,
)
from innkeeper.hypervisor.libvirt.definition import Definition
from innkeeper.hypervisor.libvirt.disk_elements import DiskElement
from innkeeper.hypervisor.libvirt.domains import Domains, current, persistent, redefine
from innkeeper.hypervisor.libvirt.exported_disks import ExportedDisks
from innkeeper.hypervisor.libvirt.images import Images
from innkeeper.hypervisor.libvirt.states import SavedImage


class UndoDefinitions:
    """What the definitions of one host's machines say of their disks, on undo disks and after them."""

    def __init__(self, domains: Domains, images: Images, exported: ExportedDisks) -> None:
        self._domains = domains
        self._images = images
        self._exported = exported

    # On undo disks

    def note(self, domain: libvirt.virDomain, overlays: Mapping[str, str]) -> None:
        """Note what the disks are like, in the definition, before anything else is changed."""
        definition, live = persistent(domain), current(domain)
        _refuse_another_next_time(definition, live, overlays)
        wanted = noted_disks(definition.node, overlays)
        if wanted != read_note(definition.node):
            _write_note(domain, wanted, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
        if domain.isActive() and wanted != read_note(live.node):
            _write_note(domain, wanted, libvirt.VIR_DOMAIN_AFFECT_LIVE)

    def use_overlays(
        self, connect: libvirt.virConnect, domain: libvirt.virDomain, overlays: Mapping[str, str]
    ) -> None:
        """Point the persistent definition at the overlays; each has the noted image below it."""
        definition = persistent(domain)
        before, note = definition.text(), read_note(definition.node)
        for target, path in overlays.items():
            disk = definition.disk(target)
            if target in note:
                stand_on_overlay(disk.node, note[target])
            elif disk.file != path:
                disk.use_file(path, "qcow2")
        if definition.text() != before:
            _define(connect, domain, definition, overlays)

    def use_bases(
        self, connect: libvirt.virConnect, domain: libvirt.virDomain, bases: Mapping[str, str]
    ) -> None:
        """Point the persistent definition at the bases; what was noted stays noted."""
        definition = persistent(domain)
        before, left = definition.text(), _left(definition, bases)
        for target, base in left.items():
            self.use_own(connect, domain, definition, target, base)
        if definition.text() != before:
            _define(connect, domain, definition, left)

    # On their own disks again

    def is_as_before(self, domain: libvirt.virDomain, bases: Mapping[str, str]) -> bool:
        """Whether the disks are these, and nothing is left to be put back of what they were.

        A disk that was taken from the machine since has nothing to be put back.
        """
        definition = persistent(domain)
        return (
            definition.has_sources(_left(definition, bases))
            and not read_note(definition.node).keys() & bases.keys()
        )

    def put_back(
        self, connect: libvirt.virConnect, domain: libvirt.virDomain, bases: Mapping[str, str]
    ) -> None:
        """Make the persistent definition say of these disks what it said before; the rest of it stays."""
        if self.is_as_before(domain, bases):
            return
        definition = persistent(domain)
        left = _left(definition, bases)
        _refuse_other_names(definition, bases.keys() - left.keys())
        for target, base in left.items():
            self.use_own(connect, domain, definition, target, base)
        forget_note(definition.node, bases)
        _define(connect, domain, definition, left)

    def use_own(
        self,
        connect: libvirt.virConnect,
        domain: libvirt.virDomain,
        definition: Definition,
        target: str,
        base: str,
    ) -> None:
        """Point a disk of a definition at its own image again, as it is noted; the note stays."""
        disk, noted = definition.disk(target), read_note(definition.node).get(target)
        if noted is not None and DiskElement(noted.node).source() == base:
            put_back(disk.node, noted)
        elif disk.source() != base:
            self._exported.use(disk, base, self._base_format(connect, domain, disk, base))

    def refuse_taken_away(self, domain: libvirt.virDomain, bases: Mapping[str, str]) -> None:
        """Raise where a disk was taken from the machine since: what was written to it would be lost."""
        definition = persistent(domain)
        note = read_note(definition.node)
        for target in sorted(definition.without_disks(bases)):
            overlay = f" {note[target].overlay}" if target in note else ""
            raise MachineUnfit(
                f"Disk {target!r} of {definition.name!r} was taken from it since its undo disk{overlay} was "
                "put on, and holds what was written until then: nothing was merged.",
                machine=definition.name,
                advice=f"Attach the undo disk again as {target}, to be merged: virsh attach-disk "
                f"{definition.name}{overlay} {target} --subdriver qcow2 --config; or discard the undo disks.",
            )

    def forget_live(self, domain: libvirt.virDomain, bases: Mapping[str, str]) -> None:
        """Take the note out of what a machine that runs carries along; a saved state would keep it."""
        known = read_note(current(domain).node)
        if known.keys() & bases.keys():
            kept = {target: noted for target, noted in known.items() if target not in bases}
            _write_note(domain, kept, libvirt.VIR_DOMAIN_AFFECT_LIVE)

    def point_memory_at(self, domain: libvirt.virDomain, bases: Mapping[str, str]) -> None:
        """Point memory that was saved on top of the overlays at the images they were merged into."""
        if self._domains.saved_image(domain) is not SavedImage.WHOLE:
            return
        saved = Definition.parse(domain.managedSaveGetXMLDesc(libvirt.VIR_DOMAIN_SAVE_IMAGE_XML_SECURE))
        if saved.has_sources(bases) and not read_note(saved.node).keys() & bases.keys():
            return
        definition = persistent(domain)
        for target in bases:
            own = NotedDisk(overlay="", definition=written(definition.disk(target).node))
            put_back(saved.disk(target).node, own)
        forget_note(saved.node, bases)
        domain.managedSaveDefineXML(saved.text(), 0)

    def _base_format(
        self, connect: libvirt.virConnect, domain: libvirt.virDomain, disk: DiskElement, base: str
    ) -> str:
        """The format of a base image, from whoever has it written down; never guessed."""
        live = current(domain).disk(disk.target)
        declared = (
            dict(disk.backing()) | dict(live.backing()) | ({live.file: live.format} if live.file else {})
        )
        found = declared.get(base) or self._images.base_format(connect, disk.file, base)
        if found is None:
            raise DiskError(
                f"The format of {base}, base of {disk.target!r} of "
                f"{domain.name()!r}, is not recorded anywhere.",
                path=base,
                code=ErrorCode.VM_E_PARENT_PATH_NOT_FOUND,
                advice="Edit the machine's definition by hand so that it names this image and its format.",
            )
        return found


def _left(definition: Definition, bases: Mapping[str, str]) -> dict[str, str]:
    """The bases of the disks that the machine still has."""
    gone = definition.without_disks(bases)
    return {target: base for target, base in bases.items() if target not in gone}


def _refuse_other_names(definition: Definition, gone: Collection[str]) -> None:
    """Refuse disks that were not taken away, but are called otherwise now: they stand on their undo disks."""
    noted = {disk.overlay: target for target, disk in read_note(definition.node).items() if target in gone}
    for disk in definition.disks():
        if target := noted.get(disk.source()):
            raise MachineUnfit(
                f"Disk {target!r} of {definition.name!r} is called {disk.target!r} since its undo disk was "
                "put on.",
                machine=definition.name,
                advice=f"Call it {target} again (<target dev='{target}'/>): virsh edit {definition.name}",
            )


def _refuse_another_next_time(definition: Definition, live: Definition, overlays: Mapping[str, str]) -> None:
    """Refuse a disk that is another image from the next start on: there would be two to go back to."""
    for target, overlay in overlays.items():
        now, then = live.disk(target).source(), definition.disk(target).source()
        if then not in (now, overlay):
            raise MachineUnfit(
                f"Disk {target!r} of {definition.name!r} is {now} now, and {then} from the next start on.",
                machine=definition.name,
                advice="Shut the machine down and start it, and try again.",
            )


def _write_note(domain: libvirt.virDomain, disks: Mapping[str, NotedDisk], where: int) -> None:
    text, prefix = (note_text(disks), PREFIX) if disks else (None, None)
    domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, text, prefix, NAMESPACE, where)


def _define(
    connect: libvirt.virConnect,
    domain: libvirt.virDomain,
    definition: Definition,
    targets: Collection[str],
) -> None:
    """Write the persistent definition, in one step where libvirt takes it.

    A definition for KVM is refused as a whole on a host that has lost it; its disks are not.
    """
    try:
        redefine(connect, definition)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_CONFIG_UNSUPPORTED or definition.type != "kvm":
            raise
        for target in targets:
            device = written(definition.disk(target).node)
            domain.updateDeviceFlags(device, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
        _write_note(domain, read_note(definition.node), libvirt.VIR_DOMAIN_AFFECT_CONFIG)
