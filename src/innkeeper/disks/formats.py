"""Decide the format of an image without trusting its guest.

A guest writes what it likes into its disk. Of a raw disk or a fixed VHD the first sector of the file is the
first of the guest's: a mark of another format there may be the guest's work. So the name decides together
with a mark, or the footer of a VHD, which lies where no guest of it can write. Where two readings are left,
the person is asked.
"""

from __future__ import annotations

from collections.abc import Sequence

from innkeeper.disks.file import ImageFile
from innkeeper.disks.kind import Kind
from innkeeper.disks.layout import OTHER_FORMATS, find_footer, said_by_name
from innkeeper.disks.named_files import named_files
from innkeeper.errors import DiskError, ErrorCode

_ASK = (
    "Say what it is: --format fixed, dynamic, differencing, raw, qcow2, vhdx or vmdk. "
    "If it is a VHD, its name may say so, too: let it end with .vhd."
)


def format_of(file: ImageFile, *, raw_if_nothing: bool = False) -> Kind:
    """Find the format of an image; raises VM_E_INVALID_HD_FILE where it is unknown or ambiguous.

    ``raw_if_nothing`` takes for raw what nothing in the file contradicts.
    """
    said, mark = said_by_name(file.path), _mark(file)
    footer = find_footer(file)
    if said is Kind.FIXED:
        if footer is None:
            raise _unclear(file, f"it is named as a VHD and has no VHD's footer{_begins(mark)}")
        return footer.kind
    if said is Kind.RAW or said is None:
        if raw_if_nothing and mark is None and footer is None:
            return Kind.RAW
        raise _unnamed(file, mark, footer.kind if footer is not None else None)
    if mark is not said:
        has = f"{_begins(mark)}" if mark else ", and has not its mark"
        raise _unclear(file, f"it is named as {said.value}{has}")
    return said


#: Kinds that are not the name of a format.
_WORDS = {Kind.FIXED: "a fixed VHD", Kind.DYNAMIC: "a dynamic VHD", Kind.DIFFERENCING: "a differencing VHD"}


def refuse_unnamed(file: ImageFile) -> None:
    """Refuse to work on a file as a VHD for a footer alone; raises VM_E_INVALID_HD_FILE.

    The last sector of a raw disk is its guest's. Only a name, a person, a definition or a child of it says
    that a file is a VHD. One with no footer at all is left to whoever reads it.
    """
    footer = find_footer(file)
    if footer is not None and said_by_name(file.path) is not Kind.FIXED:
        raise _ambiguous(file, [footer.kind])


def is_qcow2_named_as_raw(file: ImageFile) -> bool:
    """Return whether a file called ``.img``, or without a known ending, is a standalone qcow2 image.

    Cloud images are published so. The answer counts only where no guest can have written the file: a raw
    disk whose guest wrote a qcow2 header into its first sector looks the same.
    """
    if file.path.suffix.lower() != ".img" and said_by_name(file.path) is not None:
        return False
    if _mark(file) is not Kind.QCOW2 or find_footer(file) is not None:
        return False
    return not [*named_files(file, Kind.QCOW2)]


def _unnamed(file: ImageFile, mark: Kind | None, footer: Kind | None) -> DiskError:
    """Build the error for a file whose name says no format that has a mark of its own."""
    if mark is None and footer is None:
        return DiskError(
            f"{file.path}: it has no mark of a disk image.",
            path=str(file.path),
            code=ErrorCode.VM_E_INVALID_HD_FILE,
            advice="If it is a raw image, say so: --format raw (or --from raw).",
        )
    return _ambiguous(file, [kind for kind in (mark, footer) if kind is not None])


def _ambiguous(file: ImageFile, found: Sequence[Kind]) -> DiskError:
    kinds = " and ".join(_WORDS.get(kind, kind.value) for kind in found)
    return _unclear(file, f"it may be a raw image in which the guest wrote what looks like {kinds}")


def _mark(file: ImageFile) -> Kind | None:
    start = file.pread(32, 0)
    return next((kind for mark, kind in OTHER_FORMATS.items() if start.startswith(mark)), None)


def _begins(mark: Kind | None) -> str:
    return f", and begins as {mark.value} does" if mark is not None else ""


def _unclear(file: ImageFile, reason: str) -> DiskError:
    return DiskError(
        f"{file.path}: {reason}.",
        path=str(file.path),
        code=ErrorCode.VM_E_INVALID_HD_FILE,
        advice=_ASK,
    )
