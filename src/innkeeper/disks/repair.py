"""Repair an image as far as possible, losing nothing that can still be read.

What is overwritten or cut off is kept first, in a file beside the image; each repair has one of its own.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from innkeeper.disks.check import MENDABLE, Finding, Problem, check, hidden_parts
from innkeeper.disks.draft import Draft
from innkeeper.disks.file import BUFFER_BYTES, ImageFile
from innkeeper.disks.footer import CHECKSUM_AT, COOKIE, FOOTER_BYTES, Damaged, Footer, with_checksum
from innkeeper.disks.formats import refuse_unnamed
from innkeeper.disks.geometry import SECTOR
from innkeeper.disks.image import Image
from innkeeper.disks.kind import Kind
from innkeeper.disks.layout import other_check, read_layout
from innkeeper.disks.paths import LONGEST_NAME, image_path
from innkeeper.disks.progress import UNWATCHED, Watch, stop_if_asked
from innkeeper.disks.slots import Fault, SlotMap, metadata
from innkeeper.disks.table import ABSENT
from innkeeper.errors import DiskError, ErrorCode

KEPT_SUFFIX = ".before-repair"


def repair(path: str | os.PathLike[str], *, deep: bool = False, watch: Watch = UNWATCHED) -> list[str]:
    """Repair an image; returns a sentence for each change, none where nothing was wrong.

    Raises VM_E_INVALID_HD_FILE where too little is left to mend.
    """
    image_file = image_path(path)
    with ImageFile.open(image_file) as file:
        refuse_unnamed(file)
    done = _mend_fixed_footer(image_file) or _cut_to_footer_inside(image_file, watch)
    findings = [
        finding for finding in check(image_file, deep=deep, watch=watch) if _is_for_us(finding, image_file)
    ]
    if not findings:
        return done
    with ImageFile.open(image_file, writable=True) as file:
        image = Image(file)
        kept = _keep(image, findings)
        if image.finish_growth():
            done.append("A growth that was cut off was finished.")
        done += _mend_blocks(image, watch)
        done += _mend_hidden(image, findings, watch)
        done += _mend_footers(image, findings)
        image.touch()
        image.flush()
    return [*done, kept]


def _is_for_us(finding: Finding, path: Path) -> bool:
    if finding.problem is Problem.UNUSABLE:
        with ImageFile.open(path) as file:
            way = other_check(file)
        raise DiskError(
            finding.sentence.removesuffix(way).rstrip(),
            path="",
            code=ErrorCode(finding.code),
            advice=way or "Too little is left to repair. Restore it from a backup.",
        )
    return finding.problem in MENDABLE


# A fixed disk's only footer


def _mend_fixed_footer(path: Path) -> list[str]:
    """Correct the checksum where all else in a fixed disk's only footer fits the file."""
    with ImageFile.open(path) as file:
        if _is_usable(file):
            return []
        at = file.size - FOOTER_BYTES
        data = file.pread(FOOTER_BYTES, at) if at > 0 else b""
    mended = with_checksum(data, CHECKSUM_AT)
    if not _is_fixed(mended, at):
        return []
    with ImageFile.open(path, writable=True) as file:
        kept = _keep_parts(file, [(at, at + FOOTER_BYTES)])
        file.pwrite(mended, at)
        file.sync()
    return ["The footer's checksum was put right; all else in it fits the file.", kept]


def _cut_to_footer_inside(path: Path, watch: Watch) -> list[str]:
    """Cut a fixed disk's file off behind its footer, where the file became longer than the disk."""
    with ImageFile.open(path) as file:
        if _is_usable(file):
            return []
        end = next((at for at in _footers_inside(file, watch)), None)
    if end is None:
        return []
    with ImageFile.open(path, writable=True) as file:
        size = file.size
        kept = _keep_parts(file, [(end + FOOTER_BYTES, size)])
        file.truncate(end + FOOTER_BYTES)
        file.sync()
    return [
        f"The file was cut off behind its footer, which lay {size - end - FOOTER_BYTES:,} bytes inside it.",
        kept,
    ]


def _is_usable(file: ImageFile) -> bool:
    with contextlib.suppress(DiskError):
        read_layout(file)
        return True
    return False


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


# What is kept


def _keep(image: Image, findings: list[Finding]) -> str:
    """Copy to a file of its own everything but the blocks, and the parts of blocks that will be cleared."""
    size = image.file.size
    parts = [*metadata(image), (max(0, size - FOOTER_BYTES), size)]
    for finding in findings:
        if finding.problem is Problem.HIDDEN_DATA and finding.block is not None:
            parts += [(place, place + length) for place, length in hidden_parts(image, finding.block)]
    return _keep_parts(image.file, parts)


def _keep_parts(file: ImageFile, parts: list[tuple[int, int]]) -> str:
    """Copy these parts, each given as (start, stop), to their place in a new file of the same length.

    Returns the sentence that names it.
    """
    with Draft(_free_name(file.path)) as draft:
        size = file.size
        draft.file.truncate(size)
        for start, stop in parts:
            for at, length in file.data_extents(start, min(stop, size) - start):
                draft.file.copy_from(file, at, at, length)
        draft.publish()
        return f"What it overwrote is kept in {draft.path}."


def _free_name(path: Path) -> Path:
    """Return an unused name for the kept copy: each repair has one of its own."""
    for number in itertools.count(1):
        suffix = KEPT_SUFFIX if number == 1 else f"{KEPT_SUFFIX}-{number}"
        room = LONGEST_NAME - len(os.fsencode(suffix))
        name = os.fsdecode(os.fsencode(path.name)[:room])
        if not os.path.lexists(target := path.with_name(name + suffix)):
            return target
    raise AssertionError("numbers do not end")


# What is mended


def _mend_blocks(image: Image, watch: Watch) -> list[str]:
    done = []
    for fault in list(SlotMap.faults(image)):
        stop_if_asked(watch, str(image.file.path))
        done.append(_mend_block(image, fault))
    return done


def _mend_block(image: Image, fault: Fault) -> str:
    assert image.table is not None
    size = image.file.size
    place = image.table[fault.block] * SECTOR
    if fault.other is not None:
        image.move_to_end(fault.block)
        return f"Block {fault.block}, which overlapped block {fault.other}, has room of its own now."
    inside = place < size and not any(
        start < place + SECTOR and place < stop for start, stop in metadata(image)
    )
    if inside and place + image.bitmap_bytes + image.block_bytes > image.end:
        image.extend(place + image.bitmap_bytes + image.block_bytes)
        return f"Block {fault.block}, which was cut off, was filled up with zeros."
    image.table[fault.block] = ABSENT
    return f"Block {fault.block} was taken out of the table: nothing of it is in the file."


def _mend_hidden(image: Image, findings: list[Finding], watch: Watch) -> list[str]:
    done = []
    for finding in findings:
        if finding.problem is Problem.HIDDEN_DATA and finding.block is not None:
            stop_if_asked(watch, str(image.file.path))
            for place, length in list(hidden_parts(image, finding.block)):
                image.file.zero(place, length)
            done.append(f"Block {finding.block}: sectors called unwritten were made zero, as they read.")
    return done


def _mend_footers(image: Image, findings: list[Finding]) -> list[str]:
    problems = {finding.problem for finding in findings}
    done = []
    if Problem.FOOTER_LOST in problems:
        image.extend(0)
        done.append("The footer at the end was written again from its copy.")
    if Problem.COPY_LOST in problems:
        image.file.sync()
        image.file.pwrite(image.layout.footer.encode(), 0)
        done.append("The footer's copy at the start was written again.")
    return done
