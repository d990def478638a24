"""Describe one virtual machine as its host has it."""

from __future__ import annotations

import dataclasses
import enum

from innkeeper.wire.states import MachineState as MachineState
from innkeeper.wire.virtual_pc import UndoPointKind

#: In these no QEMU runs for a machine.
OFF = (MachineState.TURNED_OFF, MachineState.SAVED, MachineState.INVALID)


class DiskKind(enum.StrEnum):
    """Storage behind a disk, as far as undo disks care."""

    #: An image file: an undo disk can be put over it.
    FILE = "file"
    #: A block device of the host, passed through.
    BLOCK = "block"
    #: A network disk (NBD, RBD, iSCSI).
    NETWORK = "network"
    #: A volume of a libvirt pool, not resolved to a file.
    VOLUME = "volume"
    #: No medium, or a kind Innkeeper does not know.
    OTHER = "other"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Disk:
    """One drive of a machine."""

    #: The name inside the definition: ``vda``.
    target: str
    #: ``disk``, ``cdrom``, ``floppy`` or ``lun``.
    device: str
    kind: DiskKind
    #: The file or device that takes writes; empty where there is none.
    path: str
    #: ``raw``, ``qcow2``, ``vpc`` …
    format: str
    read_only: bool
    #: Declared shareable: other machines may write to it.
    shared: bool
    #: libvirt's own transient overlay: cannot be saved.
    transient: bool
    #: Its image is encrypted, with a secret that the hypervisor keeps.
    encrypted: bool = False
    #: Only a stretch of its file is the disk.
    sliced: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """One virtual machine: a snapshot of what its host says."""

    name: str
    uuid: str
    #: The name of the host that has it.
    host: str
    state: MachineState
    memory_mib: int
    vcpus: int
    disks: tuple[Disk, ...]
    autostart: bool
    #: Whether it has the port its task agent listens on.
    has_agent_port: bool
    #: Whether it has a qemu-guest-agent port.
    has_guest_agent_port: bool
    #: Passed-through PCI or USB devices, by name: these cannot be saved.
    passthrough: tuple[str, ...] = ()
    #: Storage of the host that the guest writes to past its disks: folders, SCSI devices; for people.
    host_storage: tuple[str, ...] = ()
    #: The file that holds the UEFI variables, or empty.
    nvram_path: str = ""
    #: Whether it has a software TPM, whose state lies beside the machine.
    has_tpm: bool = False
    #: The words that people sort it by; roles, windows and pages know them.
    labels: tuple[str, ...] = ()
    #: What its health checks find that is no fault, as patterns of subjects.
    ignored: tuple[str, ...] = ()
    #: Images that its disks were put over on purpose, and that are no surprise below them.
    known_parents: tuple[str, ...] = ()
    #: Whether undo disks take its writes from each start on.
    undoable: bool = False
    #: Whether it has run since its undo action was applied last.
    undo_pending: bool = False
    #: Disks that no undo point covers, by their targets.
    undo_exclude: tuple[str, ...] = ()
    #: How an update run takes its undo point when it finds it running.
    undo_point: UndoPointKind = UndoPointKind.POLICY
    #: Since when its guest may be frozen by us, and is owed its thaw, in seconds since 1970; 0 for never.
    freezing_since: int = 0
    #: What programs call its host (``Host.id``).
    host_id: str = ""
    #: The other hosts that have a machine of its name, whatever the case of the letters.
    namesakes: tuple[str, ...] = ()
    #: The other hosts that have this very machine, defined once more: it must not run on two of them.
    also_on: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What programs call it: its UUID on its host."""
        return f"{self.host_id}/{self.uuid}"

    @property
    def title(self) -> str:
        """What people call it: by its name, and its host where another has a machine of this name."""
        return f"{self.host}/{self.name}" if self.namesakes else self.name
