"""Find everything that can be wrong with an image, changing nothing."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import os
from collections.abc import Iterator

from innkeeper.disks import journal
from innkeeper.disks.chain import open_chain
from innkeeper.disks.file import ImageFile
from innkeeper.disks.footer import FOOTER_BYTES, Damaged, Footer
from innkeeper.disks.formats import refuse_unnamed
from innkeeper.disks.image import Image
from innkeeper.disks.kind import Kind
from innkeeper.disks.layout import Layout, other_check, read_layout
from innkeeper.disks.paths import image_path
from innkeeper.disks.progress import UNWATCHED, Watch, stop_if_asked
from innkeeper.disks.slots import Fault, SlotMap
from innkeeper.disks.zeros import ZeroFinder
from innkeeper.errors import DiskError, ErrorCode


class Problem(enum.StrEnum):
    """What can be wrong with an image."""

    #: Footer, header or table cannot be used: the image does not open.
    UNUSABLE = "unusable"
    #: The footer at the end is lost; its copy at the start serves.
    FOOTER_LOST = "footer_lost"
    #: The footer's copy at the start is lost, or tells another story; the one at the end serves.
    COPY_LOST = "copy_lost"
    #: A block lies where none can be, or over another.
    MISPLACED_BLOCK = "misplaced_block"
    #: A block holds data in sectors that its bitmap calls unwritten; some readers would show it.
    HIDDEN_DATA = "hidden_data"
    #: Room in the file that no block has; compacting gives it back.
    UNUSED_ROOM = "unused_room"
    #: The parent is missing, another disk, or changed.
    PARENT = "parent"
    #: A merge has begun and is not finished.
    HALF_MERGED = "half_merged"


#: What an image can live with.
HARMLESS = {Problem.UNUSED_ROOM, Problem.HIDDEN_DATA}
#: What ``repair`` knows how to mend.
MENDABLE = {Problem.FOOTER_LOST, Problem.COPY_LOST, Problem.MISPLACED_BLOCK, Problem.HIDDEN_DATA}
#: A broken image can have a million faults; a person needs only some of them.
MOST_FINDINGS = 1000


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that is wrong with an image."""

    problem: Problem
    #: What is wrong, for a person.
    sentence: str
    #: The documented identifier of the error it causes, 0 where it causes none.
    code: int = 0
    #: The block concerned, where it is one block.
    block: int | None = None

    @property
    def is_harmless(self) -> bool:
        """Return whether the image works all the same."""
        return self.problem in HARMLESS

    def as_line(self) -> str:
        """The finding in one line of a log, from which a client can parse it again."""
        block = "" if self.block is None else f" block {self.block}"
        return f"{self.sentence} [{self.problem} {self.code:#010x}{block}]"


def check(path: str | os.PathLike[str], *, deep: bool = False, watch: Watch = UNWATCHED) -> list[Finding]:
    """Find what is wrong with an image; ``deep`` also reads all of its blocks.

    Raises ``DiskError`` only where the file itself cannot be opened, or may be a raw image.
    """
    with ImageFile.open(image_path(path)) as file:
        refuse_unnamed(file)
        findings = []
        for finding in _findings(file, deep=deep, watch=watch):
            findings.append(finding)
            if len(findings) == MOST_FINDINGS:
                break
        return findings


def _findings(file: ImageFile, *, deep: bool, watch: Watch) -> Iterator[Finding]:
    try:
        layout = read_layout(file)
    except DiskError as exc:
        sentence = f"{exc} {other_check(file)}".rstrip()
        yield Finding(problem=Problem.UNUSABLE, sentence=sentence, code=exc.hresult)
        return
    yield from _footers(file, layout)
    image = Image(file, layout)
    faults = False
    for fault in SlotMap.faults(image):
        faults = True
        yield _misplaced(fault)
    if not faults:
        yield from _room(image)
        if deep:
            yield from _hidden(image, watch)
    yield from _family(image)


def _footers(file: ImageFile, layout: Layout) -> Iterator[Finding]:
    if layout.lost_footer:
        yield Finding(problem=Problem.FOOTER_LOST, sentence=f"{layout.lost_footer}.")
    elif layout.kind is not Kind.FIXED:
        try:
            copy = Footer.decode(file.pread(FOOTER_BYTES, 0))
            same = copy.with_mark(None) == layout.footer.with_mark(None)
            reason = "" if same else "the footer's copy at the start differs from the footer"
        except Damaged as exc:
            reason = f"at the start of the file, where a copy should be, {exc}"
        if reason:
            yield Finding(problem=Problem.COPY_LOST, sentence=f"{reason}.")


def _misplaced(fault: Fault) -> Finding:
    return Finding(
        problem=Problem.MISPLACED_BLOCK,
        sentence=f"{fault.reason}.",
        code=ErrorCode.VM_E_INVALID_HD_FILE,
        block=fault.block,
    )


def _room(image: Image) -> Iterator[Finding]:
    """Find room that no structure uses, beside the gaps that the alignment of blocks leaves."""
    if image.table is None:
        return
    slots = SlotMap(image)
    blocks = sum(1 for _ in slots.in_file_order())
    used = blocks * (slots.slot_bytes + image.alignment) + image.table.entries * 4 + (64 << 10)
    unused = image.layout.end - used
    if unused > 0:
        yield Finding(
            problem=Problem.UNUSED_ROOM, sentence=f"About {unused:,} bytes of the file belong to no block."
        )


def _hidden(image: Image, watch: Watch) -> Iterator[Finding]:
    """Find data in sectors that a disk without parent marks as unwritten."""
    if image.table is None or image.kind is not Kind.DYNAMIC:
        return
    finder = ZeroFinder()
    for block, _ in image.table.present():
        stop_if_asked(watch, str(image.file.path))
        watch.advance("reading", block * image.block_bytes, image.size_bytes)
        if any(not finder.is_zero(image.file, at, length) for at, length in hidden_parts(image, block)):
            yield Finding(
                problem=Problem.HIDDEN_DATA,
                sentence=f"block {block} holds data in sectors that its bitmap calls unwritten.",
                block=block,
            )


def hidden_parts(image: Image, block: int) -> Iterator[tuple[int, int]]:
    """List the parts of a present block whose sectors are not marked: (place, length)."""
    place = image.place(block)
    if place is None:
        return
    for start, length, marked in image.block_runs(block):
        if marked is None:
            yield place + image.bitmap_bytes + start - block * image.block_bytes, length


def _family(image: Image) -> Iterator[Finding]:
    """Check that the chain opens, and whether a merge into the disk has begun."""
    path = image.file.path
    begun = journal.begun_in(image)
    if begun is not None and not begun.is_over:
        error = journal.half_merged(path, begun)
        yield Finding(problem=Problem.HALF_MERGED, sentence=f"{error} {error.advice}.", code=error.hresult)
    if image.kind is Kind.DIFFERENCING:
        try:
            with contextlib.closing(open_chain(path)):
                pass
        except DiskError as exc:
            yield Finding(problem=Problem.PARENT, sentence=f"{exc} {exc.advice}", code=exc.hresult)
