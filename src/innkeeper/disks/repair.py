"""Mend an image as far as it can be, losing nothing that can still be read.

What is overwritten is kept first, in a file beside the image.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from innkeeper.disks.check import MENDABLE, Finding, Problem, check, hidden_parts
from innkeeper.disks.draft import Draft
from innkeeper.disks.file import ImageFile
from innkeeper.disks.footer import CHECKSUM_AT, COOKIE, FOOTER_BYTES, Damaged, Footer, with_checksum
from innkeeper.disks.image import Image
from innkeeper.disks.kind import Kind
from innkeeper.disks.layout import read_layout
from innkeeper.disks.paths import image_path
from innkeeper.disks.progress import UNWATCHED, Watch, stop_if_asked
from innkeeper.disks.slots import Fault, SlotMap, metadata
from innkeeper.disks.table import ABSENT
from innkeeper.errors import DiskError, ErrorCode

KEPT_SUFFIX = ".before-repair"


def repair(path: str | os.PathLike[str], *, deep: bool = False, watch: Watch = UNWATCHED) -> list[str]:
    """Mend an image; returns a sentence for each thing done, none where there was nothing to do.

    Raises VM_E_INVALID_HD_FILE where too little is left to mend.
    """
    image_file = image_path(path)
    done = _mend_fixed_footer(image_file)
    findings = [finding for finding in check(image_file, deep=deep, watch=watch) if _is_for_us(finding)]
    if not findings:
        return done
    with ImageFile.open(image_file, writable=True) as file:
        image = Image(file)
        _keep(image)
        done += _mend_blocks(image, watch)
        done += _mend_hidden(image, findings, watch)
        done += _mend_footers(image, findings)
        image.touch()
        image.flush()
    return done


def _is_for_us(finding: Finding) -> bool:
    if finding.problem is Problem.UNUSABLE:
        raise DiskError(
            finding.sentence,
            path="",
            code=ErrorCode(finding.code),
            advice="Too little is left to mend. Restore it from a backup.",
        )
    return finding.problem in MENDABLE


def _mend_fixed_footer(path: Path) -> list[str]:
    """Put the checksum right where all else in a fixed disk's only footer fits the file."""
    with ImageFile.open(path) as file:
        with contextlib.suppress(DiskError):
            read_layout(file)
            return []
        at = file.size - FOOTER_BYTES
        data = file.pread(FOOTER_BYTES, at) if at > 0 else b""
    if not data.startswith(COOKIE):
        return []
    mended = with_checksum(data, CHECKSUM_AT)
    try:
        footer = Footer.decode(mended)
    except Damaged:
        return []
    if footer.kind is not Kind.FIXED or footer.current_size != at:
        return []
    with ImageFile.open(path, writable=True) as file:
        file.pwrite(mended, at)
        file.sync()
    return ["The footer's checksum was put right; all else in it fits the file."]


def _keep(image: Image) -> None:
    """Keep what is not a block, at its place in a file of the same length."""
    target = image.file.path.with_name(image.file.path.name[: 255 - len(KEPT_SUFFIX)] + KEPT_SUFFIX)
    if target.exists():
        return
    with Draft(target) as draft:
        size = image.file.size
        draft.file.truncate(size)
        for start, stop in [*metadata(image), (max(0, size - FOOTER_BYTES), size)]:
            draft.file.copy_from(image.file, start, start, stop - start)
        draft.publish()


def _mend_blocks(image: Image, watch: Watch) -> list[str]:
    done = []
    for fault in list(SlotMap.faults(image)):
        stop_if_asked(watch, str(image.file.path))
        done.append(_mend_block(image, fault))
    return done


def _mend_block(image: Image, fault: Fault) -> str:
    assert image.table is not None
    size = image.file.size
    place = image.table[fault.block] * 512
    if fault.other is not None:
        image.move_to_end(fault.block)
        return f"Block {fault.block}, which overlapped block {fault.other}, has room of its own now."
    inside = place < size and not any(start < place + 512 and place < stop for start, stop in metadata(image))
    if inside and place + image.bitmap_bytes + image.block_bytes > size:
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
        image.file.pwrite(image.layout.footer.encode(), 0)
        done.append("The footer's copy at the start was written again.")
    return done
