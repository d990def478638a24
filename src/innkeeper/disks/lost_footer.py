"""Give a fixed disk back the footer that its file lost.

A fixed disk has one footer, at the end of its file, and before it lies the guest's own. So a footer inside
the file may be one that the guest wrote: alone it never settles where the disk ends.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from innkeeper.disks import header
from innkeeper.disks.file import BUFFER_BYTES, ImageFile
from innkeeper.disks.footer import (
    CHECKSUM_AT,
    COOKIE,
    FOOTER_BYTES,
    Damaged,
    Footer,
    is_whole_sectors,
    with_checksum,
)
from innkeeper.disks.kept import keep_parts
from innkeeper.disks.kind import Kind
from innkeeper.disks.layout import LARGEST_DISK, other_format, read_layout, said_by_name
from innkeeper.disks.paths import shell
from innkeeper.disks.progress import Watch, stop_if_asked
from innkeeper.errors import DiskError, ErrorCode, InvalidArgument

#: How many sizes are named in a refusal: a guest can write as many footers as it likes.
_NAMED = 5


def restore_footer(path: Path, size_bytes: int | None, watch: Watch) -> list[str]:
    """Restore the footer of a fixed disk that has none at its end; returns a sentence for each change.

    ``size_bytes`` is the size that a person says the disk has. Without it only a footer is restored that
    lies at the file's end and fits it but for its checksum. Raises VM_E_INVALID_HD_FILE where the size is
    not settled, with the sizes that are possible, and ``InvalidArgument`` for a size that is not.
    """
    with ImageFile.open(path) as file:
        known = _known_size(file)
        if known is not None:
            _refuse_other(path, size_bytes, known)
            return []
        if not _can_be_fixed(file):
            return []
        at = file.size - FOOTER_BYTES
        mended = with_checksum(file.pread(FOOTER_BYTES, at), CHECKSUM_AT) if at > 0 else b""
        fits = size_bytes in {None, at} and _is_fixed(mended, at)
        inside = [] if fits else list(_footers_inside(file, watch))
        sizes = _sizes(file, inside)
    if fits:
        return _write_footer(path, at, mended, "The footer's checksum was put right; all else in it fits.")
    if size_bytes is None:
        if not inside and said_by_name(path) is not Kind.FIXED:
            return []
        raise _unsettled(path, sizes)
    if size_bytes not in sizes:
        raise InvalidArgument(
            f"{path}: the disk cannot have {size_bytes:,} bytes.", advice=f"It may have {_listed(sizes)}."
        )
    if size_bytes in inside:
        return _cut_behind(path, size_bytes)
    footer = Footer.new(Kind.FIXED, size_bytes).encode()
    return _write_footer(path, size_bytes, footer, f"A new footer for {size_bytes:,} bytes was written.")


def _known_size(file: ImageFile) -> int | None:
    with contextlib.suppress(DiskError):
        return read_layout(file).size_bytes
    return None


def _refuse_other(path: Path, given: int | None, known: int) -> None:
    if given not in {None, known}:
        raise InvalidArgument(
            f"{path}: its footer is whole and says {known:,} bytes, not {given:,}.",
            advice="To change the size of a disk: innkeeper disk resize",
        )


def _can_be_fixed(file: ImageFile) -> bool:
    """Return whether the file has no footer at its end, and no sign of a disk with a table of blocks."""
    with contextlib.suppress(Damaged):
        Footer.decode(file.pread(FOOTER_BYTES, max(0, file.size - FOOTER_BYTES)))
        return False
    is_dynamic = file.pread(len(header.COOKIE), FOOTER_BYTES) == header.COOKIE
    return not is_dynamic and other_format(file) is None and said_by_name(file.path) in {Kind.FIXED, None}


def _sizes(file: ImageFile, inside: list[int]) -> list[int]:
    """List the sizes that the disk may have had, the likeliest first: what the file's length says."""
    by_length = (file.size - FOOTER_BYTES, file.size)
    return [
        size
        for size in dict.fromkeys((*by_length, *inside))
        if is_whole_sectors(size) and size <= LARGEST_DISK
    ]


def _unsettled(path: Path, sizes: list[int]) -> DiskError:
    return DiskError(
        f"{path}: its footer is lost, and with it the size: {_listed(sizes)}. "
        "A footer inside the file may be one that the guest wrote.",
        path=str(path),
        code=ErrorCode.VM_E_INVALID_HD_FILE,
        advice=f"If it is a fixed disk, say its size: innkeeper disk repair {shell(path)} --size "
        f"{sizes[0] if sizes else 'BYTES'}. Otherwise restore it from a backup.",
    )


def _listed(sizes: list[int]) -> str:
    more = " and more" if len(sizes) > _NAMED else ""
    return " or ".join(f"{size:,}" for size in sizes[:_NAMED]) + more + " bytes"


def _write_footer(path: Path, at: int, footer: bytes, said: str) -> list[str]:
    with ImageFile.open(path, writable=True) as file:
        kept = [keep_parts(file, [(at, file.size)])] if at < file.size else []
        file.pwrite(footer, at)
        file.sync()
    return [said, *kept]


def _cut_behind(path: Path, end: int) -> list[str]:
    """Cut the file off behind the footer that lies where a disk of this size ends."""
    with ImageFile.open(path, writable=True) as file:
        size = file.size
        kept = keep_parts(file, [(end + FOOTER_BYTES, size)])
        file.truncate(end + FOOTER_BYTES)
        file.sync()
    return [
        f"The file was cut off behind its footer, which lay {size - end - FOOTER_BYTES:,} bytes inside it.",
        kept,
    ]


def _footers_inside(file: ImageFile, watch: Watch) -> Iterator[int]:
    """Find footers of fixed disks that lie where such a disk ends, the last in the file first.

    One that a guest keeps inside a disk of its own lies elsewhere: a footer tells how far from the start of
    its file it belongs.
    """
    offset = file.size // BUFFER_BYTES * BUFFER_BYTES
    while offset >= 0:
        stop_if_asked(watch, str(file.path))
        data = file.pread(BUFFER_BYTES + FOOTER_BYTES, offset)
        at = data.rfind(COOKIE, 0, BUFFER_BYTES + len(COOKIE) - 1)
        while at >= 0:
            if _is_fixed(data[at : at + FOOTER_BYTES], offset + at):
                yield offset + at
            at = data.rfind(COOKIE, 0, at)
        offset -= BUFFER_BYTES


def _is_fixed(data: bytes, at: int) -> bool:
    """Return whether these bytes are the footer of a fixed disk that ends where they lie."""
    with contextlib.suppress(Damaged):
        footer = Footer.decode(data)
        return footer.kind is Kind.FIXED and footer.current_size == at
    return False
