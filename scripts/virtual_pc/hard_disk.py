"""Declare: the virtual hard disk."""

from virtual_pc.member import Carriage, Interface, Member

_DIRECT = Carriage.DIRECT
_EMULATED = Carriage.EMULATED

HARD_DISK = Interface(
    "IVMHardDisk",
    (
        Member(
            "Compact",
            _EMULATED,
            "HardDisk.compact",
            "Innkeeper’s VHD engine, in place, identity kept; zeros, and what ext4 or NTFS leave free.",
        ),
        Member(
            "Convert",
            _EMULATED,
            "HardDisk.convert",
            "Innkeeper’s VHD engine; qemu-img for QEMU’s own formats. The source stays.",
        ),
        Member("File", _DIRECT, "HardDisk.file", "Path."),
        Member(
            "HostFreeDiskSpace", _DIRECT, "HardDisk.host_free_disk_space", "statvfs of the file’s folder."
        ),
        Member(
            "Merge",
            _EMULATED,
            "HardDisk.merge",
            "Innkeeper’s VHD engine: journalled, resumed after a crash; once begun it can only be finished.",
        ),
        Member(
            "MergeTo", _EMULATED, "HardDisk.merge_to", "Innkeeper’s VHD engine: the chain, to a new image."
        ),
        Member(
            "Parent",
            _EMULATED,
            "HardDisk.parent",
            "Found by the locators of Windows and Unix; set: locators written anew, the identity checked.",
        ),
        Member(
            "SizeInGuest",
            _DIRECT,
            "HardDisk.size_in_guest",
            "The footer’s current size, never its geometry; qemu-img for other formats.",
        ),
        Member(
            "SizeOnHost", _DIRECT, "HardDisk.size_on_host", "The file’s length; the room it takes beside it."
        ),
        Member(
            "Type",
            _DIRECT,
            "HardDisk.type",
            "The footer’s type; qcow2 with backing: differencing, else dynamic; raw: fixed size.",
        ),
    ),
)
