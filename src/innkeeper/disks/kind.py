"""Name the kinds of disk image."""

from __future__ import annotations

import enum

from innkeeper.wire.states import HardDiskType as HardDiskType


class Kind(enum.StrEnum):
    """A disk format Innkeeper can read or make."""

    #: A VHD with all its room from the start.
    FIXED = "fixed"
    #: A VHD that grows as the guest writes.
    DYNAMIC = "dynamic"
    #: A VHD that holds the difference to a parent.
    DIFFERENCING = "differencing"
    #: The bytes of the disk and nothing else.
    RAW = "raw"
    #: QEMU's own format.
    QCOW2 = "qcow2"
    #: Hyper-V's newer format.
    VHDX = "vhdx"
    #: VMware's format.
    VMDK = "vmdk"

    @property
    def is_vhd(self) -> bool:
        """Whether Innkeeper's own engine carries it."""
        return self in DOCUMENTED

    @property
    def hard_disk_type(self) -> HardDiskType | None:
        """The documented type, for the kinds that have one."""
        return DOCUMENTED.get(self)


DOCUMENTED = {
    Kind.DYNAMIC: HardDiskType.DYNAMIC,
    Kind.FIXED: HardDiskType.FIXED_SIZE,
    Kind.DIFFERENCING: HardDiskType.DIFFERENCING,
}
