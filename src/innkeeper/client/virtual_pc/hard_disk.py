"""Declare: the virtual hard disk."""

from innkeeper.client.virtual_pc.member import Carriage, Interface, Member

_DIRECT = Carriage.DIRECT
_EMULATED = Carriage.EMULATED

HARD_DISK = Interface(
    "IVMHardDisk",
    (
        Member(
            "Compact",
            _EMULATED,
            "",
            "Innkeeper’s VHD engine (BAT rewrite) or qemu-img convert to temp + atomic rename; "
            "needs zeroed free space (virt-sparsify/fstrim/Innkeeper’s NTFS/ext4 zero scan).",
        ),
        Member(
            "Convert",
            _EMULATED,
            "",
            "Qemu-img convert -p -O vpc -o subformat=…,force_size=on, or Innkeeper’s engine; "
            "source left intact; progress from -p; cancel SIGTERM + delete partial target.",
        ),
        Member("File", _DIRECT, "", "Path."),
        Member("HostFreeDiskSpace", _DIRECT, "", "Os.statvfs(dir)."),
        Member(
            "Merge",
            _EMULATED,
            "",
            "Qcow2: qemu-img commit -p / blockCommit; VHD differencing: NO Linux tool → Innkeeper’s engine.",
        ),
        Member(
            "MergeTo",
            _EMULATED,
            "",
            "Qcow2 chain: qemu-img convert (flattens); VHD chain: Innkeeper’s engine reader → writer.",
        ),
        Member(
            "Parent",
            _EMULATED,
            "",
            "Get: locator W2ru/W2ku resolve (Innkeeper’s engine) or qcow2 backing-filename; put: "
            "rewrite locator + check id → VM_E_PARENT_CHILD_ID_MISMATCH; qcow2: qemu-img rebase "
            "-u (unsafe mode) after id check.",
        ),
        Member("SizeInGuest", _DIRECT, "", "Footer current_size (VHD) / qemu-img info virtual-size."),
        Member("SizeOnHost", _DIRECT, "", "St_size (also give st_blocks*512)."),
        Member(
            "Type",
            _DIRECT,
            "",
            "Footer disk type 2/3/4; qcow2 with backing → Differencing, else Dynamic; raw → FixedSize.",
        ),
    ),
)
