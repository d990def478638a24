"""Read the structure of a VHD file, and compare it with the file's size.

The one place where the structure of a foreign file is believed or refused. What is read here is bounded by
the file's length and by the documented limits, whatever the numbers in it say.
"""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

from innkeeper.disks.file import ImageFile
from innkeeper.disks.footer import FOOTER_BYTES, OLD_FOOTER_BYTES, Damaged, Footer, is_whole_sectors
from innkeeper.disks.geometry import SECTOR
from innkeeper.disks.header import HEADER_BYTES, Header
from innkeeper.disks.kind import Kind
from innkeeper.errors import DiskError, ErrorCode

#: The documented limit, 2,088,960 MB.
LARGEST_DISK = 2040 << 30
#: The documented limit for a new disk, 3 MB.
SMALLEST_DISK = 3 << 20

OTHER_FORMATS = {
    b"QFI\xfb": Kind.QCOW2,
    b"vhdxfile": Kind.VHDX,
    b"KDMV": Kind.VMDK,
    b"COWD": Kind.VMDK,
    b"# Disk DescriptorFile": Kind.VMDK,
}
#: How the names of our own undo disks may end.
OWN_OVERLAY = ".innkeeper-"
#: What the end of a name says.
NAMES = {
    ".qcow2": Kind.QCOW2,
    ".vhdx": Kind.VHDX,
    ".avhdx": Kind.VHDX,
    ".vmdk": Kind.VMDK,
    **dict.fromkeys((".raw", ".img", ".iso", ".bin", ".dd"), Kind.RAW),
    **dict.fromkeys((".vhd", ".avhd", ".vpc", ".fixed", ".dynamic", ".differencing"), Kind.FIXED),
}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The structure of a VHD file."""

    footer: Footer
    #: ``None`` for a fixed disk.
    header: Header | None
    #: Where the blocks end: the place of the footer, or the end of the file where the footer is lost.
    end: int
    #: The footer was read from its copy at the start, and the reason; empty when all is well.
    lost_footer: str = ""

    @property
    def kind(self) -> Kind:
        """The kind of the image."""
        return self.footer.kind

    @property
    def size_bytes(self) -> int:
        """The size of the disk in the guest."""
        return self.footer.current_size

    @property
    def table_entries(self) -> int:
        """How many entries of the block table this disk's size uses."""
        return 0 if self.header is None else -(-self.size_bytes // self.header.block_bytes)


def read_layout(file: ImageFile) -> Layout:
    """Read footer and header; raises ``DiskError`` where they cannot be used."""
    size = file.size
    footer, end, reason = _find_footer(file, size)
    if footer is None:
        raise _no_disk(file, reason)
    try:
        layout = Layout(footer=footer, header=_read_header(file, footer), end=end, lost_footer=reason)
        _hold_against_file(layout, size)
    except Damaged as exc:
        raise invalid(file, f"{exc}") from exc
    return layout


def find_footer(file: ImageFile) -> Footer | None:
    """Find the footer of a VHD; ``None`` where there is none.

    The copy at the start stands in for it in a file that is named as a VHD alone: the first sector of a raw
    image is the guest's.
    """
    footer, _, lost = _find_footer(file, file.size)
    return footer if not lost or said_by_name(file.path) is Kind.FIXED else None


def said_by_name(path: Path) -> Kind | None:
    """Return the format that a file's name says; any VHD is ``FIXED``, and its footer has the kind."""
    suffix = path.suffix.lower()
    return Kind.QCOW2 if suffix.startswith(OWN_OVERLAY) else NAMES.get(suffix)


def invalid(file: ImageFile, reason: str) -> DiskError:
    """Build the error for a file that is no sound image."""
    return DiskError(
        f"{file.path}: {reason}.",
        path=str(file.path),
        code=ErrorCode.VM_E_INVALID_HD_FILE,
        advice="Run `innkeeper disk check` on it; `innkeeper disk repair` repairs what can be repaired.",
    )


def _find_footer(file: ImageFile, size: int) -> tuple[Footer | None, int, str]:
    """Find the footer at the end, or else its copy at the start: (footer, end of blocks, what was wrong)."""
    reason = "it is too short for a disk image"
    for length in (FOOTER_BYTES, OLD_FOOTER_BYTES):
        if size < length:
            continue
        try:
            return Footer.decode(file.pread(length, size - length)), size - length, ""
        except Damaged as exc:
            # The reason that counts is that of the footer that is there.
            reason = str(exc) if length == FOOTER_BYTES or "no VHD" not in str(exc) else reason
    try:
        copy = Footer.decode(file.pread(FOOTER_BYTES, 0))
    except Damaged:
        return None, size, reason
    # The first sector of a raw image is the guest's: what it wrote there is no copy of a footer.
    if copy.kind is Kind.FIXED or said_by_name(file.path) not in {Kind.FIXED, None}:
        return None, size, reason
    return copy, -(-size // SECTOR) * SECTOR, f"{reason}; its copy at the start of the file was used"


def _read_header(file: ImageFile, footer: Footer) -> Header | None:
    if footer.kind is Kind.FIXED:
        return None
    if footer.data_offset % SECTOR or footer.data_offset > file.size - HEADER_BYTES:
        raise Damaged("the dynamic header would lie outside the file")
    if footer.data_offset < FOOTER_BYTES:
        raise Damaged("the dynamic header would lie over the footer's copy")
    return Header.decode(file.pread(HEADER_BYTES, footer.data_offset))


def _hold_against_file(layout: Layout, size: int) -> None:
    if not is_whole_sectors(layout.size_bytes):
        raise Damaged(f"its size, {layout.size_bytes} bytes, is not a whole number of sectors")
    if layout.size_bytes > LARGEST_DISK:
        raise Damaged(f"its size, {layout.size_bytes} bytes, is over the limit of 2040 GiB")
    header = layout.header
    if header is None:
        if layout.size_bytes > layout.end:
            raise Damaged(f"the file is cut off: it has {layout.end} of {layout.size_bytes} bytes")
        return
    if header.entries < layout.table_entries:
        raise Damaged("the block table is too short for the disk's size")
    if header.table_offset % SECTOR or header.table_offset + 4 * layout.table_entries > size:
        raise Damaged("the block table lies outside the file")
    stop = header.table_offset + 4 * layout.table_entries
    header_at = layout.footer.data_offset
    if header.table_offset < FOOTER_BYTES or (
        header.table_offset < header_at + HEADER_BYTES and header_at < stop
    ):
        raise Damaged("the block table lies over the disk's own headers")


def _no_disk(file: ImageFile, reason: str) -> DiskError:
    if (kind := other_format(file)) is not None:
        return DiskError(
            f"{file.path}: it is a {kind.value} image, not a VHD.",
            path=str(file.path),
            code=ErrorCode.VM_E_INVALID_HD_FILE,
            advice="Convert it with `innkeeper disk convert`.",
        )
    return invalid(file, reason)


def other_format(file: ImageFile) -> Kind | None:
    """The format of QEMU's that a file begins as; ``None`` for none."""
    start = file.pread(32, 0)
    return next((kind for mark, kind in OTHER_FORMATS.items() if start.startswith(mark)), None)


def other_check(file: ImageFile) -> str:
    """What checks an image that is no VHD, as a sentence; empty where nothing is known that does."""
    kind = other_format(file)
    if kind is None:
        return ""
    return f"This works on VHDs. For {kind.value}: qemu-img check {shlex.quote(str(file.path))}"
