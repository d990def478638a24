"""Repair an image as far as possible, losing nothing that can still be read.

What is overwritten or cut off is kept first, in a file beside the image; each repair has one of its own.
"""

from __future__ import annotations

import os
from pathlib import Path

from innkeeper.disks.check import MENDABLE, Finding, Problem, check, hidden_parts
from innkeeper.disks.file import ImageFile
from innkeeper.disks.footer import FOOTER_BYTES
from innkeeper.disks.formats import refuse_unnamed
from innkeeper.disks.geometry import SECTOR
from innkeeper.disks.image import Image
from innkeeper.disks.kept import keep_parts
from innkeeper.disks.layout import other_check
from innkeeper.disks.lost_footer import restore_footer
from innkeeper.disks.paths import image_path
from innkeeper.disks.progress import UNWATCHED, Watch, stop_if_asked
from innkeeper.disks.slots import Fault, SlotMap, metadata
from innkeeper.disks.table import ABSENT
from innkeeper.errors import DiskError, ErrorCode


def repair(
    path: str | os.PathLike[str],
    *,
    deep: bool = False,
    size_bytes: int | None = None,
    watch: Watch = UNWATCHED,
) -> list[str]:
    """Repair an image; returns a sentence for each change, none where nothing was wrong.

    ``size_bytes`` is the size of a fixed disk that lost its footer. Raises VM_E_INVALID_HD_FILE where too
    little is left to mend, or where that size has to be said, and ``InvalidArgument`` for one that cannot be.
    """
    image_file = image_path(path)
    with ImageFile.open(image_file) as file:
        refuse_unnamed(file)
    done = restore_footer(image_file, size_bytes, watch)
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


# What is kept


def _keep(image: Image, findings: list[Finding]) -> str:
    """Copy to a file of its own everything but the blocks, and the parts of blocks that will be cleared."""
    size = image.file.size
    parts = [*metadata(image), (max(0, size - FOOTER_BYTES), size)]
    for finding in findings:
        if finding.problem is Problem.HIDDEN_DATA and finding.block is not None:
            parts += [(place, place + length) for place, length in hidden_parts(image, finding.block)]
    return keep_parts(image.file, parts)


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
