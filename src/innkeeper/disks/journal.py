"""Journal of a merge that has begun: notes in both images, and a file beside the parent for people.

The notes are there, and durable, before the first byte of the parent changes. While they are there the
parent alone is neither one disk nor the other: nobody gets it by itself, and the child that is merged takes
no more writes. The child over the parent still reads right at every moment, as its own sectors hide those
already copied.

How far the merge came is noted in the parent itself, so it is true of whatever file is found in its place:
a parent restored from a backup knows of no merge, and a child restored from one is not the child that the
merge began with. The file names the child's path; without its note in the parent it counts for nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import json
import os
import uuid
from pathlib import Path

from innkeeper.disks.image import Image
from innkeeper.disks.mark import Mark, Operation
from innkeeper.disks.oserror import adapted
from innkeeper.disks.paths import beside, shell, sync_folder
from innkeeper.disks.side_files import read_side_file, replace_side_file
from innkeeper.errors import DiskError, ErrorCode

SUFFIX = ".merging"
_LONGEST = 64 << 10


class MergeState(enum.StrEnum):
    """How far a merge has come."""

    #: The parent is being written; the child still holds all of its changes.
    BEGUN = "begun"
    #: The parent holds everything, durably; what is left is to remove the child.
    MERGED = "merged"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class MergeJournal:
    """A merge that has begun."""

    state: MergeState
    #: The child, by its identity: files move.
    child_id: uuid.UUID
    parent_id: uuid.UUID
    #: Where the child was, for the sentence that tells how to finish; ``None`` where the file is gone.
    child: Path | None
    #: Everything before this byte of the disk is merged, durably.
    done: int = 0
    #: Tells this merge from every other of the two; ``None`` in the files of former releases.
    token: uuid.UUID | None = None

    @property
    def is_over(self) -> bool:
        """Return whether only the journal itself is still to be removed."""
        return self.state is MergeState.MERGED and (self.child is None or not self.child.exists())

    @property
    def mark(self) -> Mark:
        """The note of this merge in the parent."""
        assert self.token is not None
        return Mark(
            operation=Operation.MERGING_INTO,
            token=self.token,
            other=self.child_id,
            is_over=self.state is MergeState.MERGED,
            number=self.done,
        )

    def write(self, parent: Path) -> None:
        """Put the file beside the parent, durably, all of it or none."""
        replace_side_file(journal_path(parent), self._text().encode("utf-8", "surrogateescape"))

    def _text(self) -> str:
        return json.dumps(
            {
                "what": "A merge of virtual hard disks has begun. Finish it: innkeeper disk merge <child>",
                "state": self.state,
                "child": os.fspath(self.child) if self.child is not None else None,
                "child_id": str(self.child_id),
                "parent_id": str(self.parent_id),
                "done": self.done,
                "token": str(self.token),
            },
            indent=1,
            ensure_ascii=False,
        )


def begun_in(parent: Image) -> MergeJournal | None:
    """Return the unfinished merge into this disk, if one has begun."""
    noted, mark = read(parent.file.path), parent.mark
    identity = parent.layout.footer.unique_id
    if mark is not None and mark.operation is Operation.MERGING_INTO:
        return MergeJournal(
            state=MergeState.MERGED if mark.is_over else MergeState.BEGUN,
            child_id=mark.other,
            parent_id=identity,
            child=noted.child if noted is not None and noted.token == mark.token else None,
            done=mark.number,
            token=mark.token,
        )
    if noted is not None and noted.token is None and noted.parent_id == identity:
        # Of a former release, which left no notes: begun, and done from the start where it is not over.
        state = MergeState.MERGED if noted.is_over else MergeState.BEGUN
        return dataclasses.replace(noted, state=state, done=0)
    return None


def is_child_of(begun: MergeJournal, child: Image) -> bool:
    """Return whether this is the child of that merge, by its identity; raises where it changed.

    One that came from a backup lacks the note that the merge left in it. What it does not hold any more may
    be in the parent already: together they are no disk that ever was.
    """
    if begun.child_id != child.layout.footer.unique_id:
        return False
    mark = child.mark
    if begun.token is None or (
        mark is not None and mark.operation is Operation.MERGING_FROM and mark.token == begun.token
    ):
        return True
    raise DiskError(
        f"{child.file.path}: it is not as it was when its merge into its parent began, "
        "so the merge cannot be finished with it.",
        path=str(child.file.path),
        code=ErrorCode.VM_E_PARENT_MODIFIED,
        advice="Restore the parent of the same time too, in its place or elsewhere, and say where it is: "
        f"innkeeper disk reparent {shell(child.file.path)} PARENT. Or put back the child that the merge "
        f"began with, and finish it: innkeeper disk merge {shell(child.file.path)}",
    )


def is_kept(child: Image, parent: Image) -> bool:
    """Return whether a merge of this child, which is kept, was cut off right before its last note went.

    The child still holds all that it gave, so with its parent of before or of after it is the same disk.
    """
    noted, mark = read(parent.file.path), child.mark
    return (
        noted is not None
        and noted.state is MergeState.MERGED
        and mark is not None
        and mark.operation is Operation.MERGING_FROM
        and mark.token == noted.token
        and noted.parent_id == parent.layout.footer.unique_id
    )


def read(parent: Path) -> MergeJournal | None:
    """Read the file beside a disk, whether its content still holds or not."""
    path = journal_path(parent)
    if (data := read_side_file(path, _LONGEST)) is None:
        return None
    try:
        fields = json.loads(data.decode("utf-8", "surrogateescape"))
        token = fields.get("token")
        return MergeJournal(
            state=MergeState(fields["state"]),
            child_id=uuid.UUID(fields["child_id"]),
            parent_id=uuid.UUID(fields["parent_id"]),
            child=Path(fields["child"]) if fields["child"] is not None else None,
            done=int(fields["done"]),
            token=uuid.UUID(token) if token is not None else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise DiskError(
            f"{path}: the journal of a merge cannot be read.",
            path=str(parent),
            code=ErrorCode.VM_E_INVALID_HD_FILE,
            advice="A merge into this disk has begun. Merge its child again to finish it, "
            "after moving the journal away.",
        ) from exc


def remove(parent: Path) -> None:
    """Remove the file, durably."""
    path = journal_path(parent)
    with adapted(path):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        sync_folder(path.parent)


def journal_path(parent: Path) -> Path:
    """Name the file of merges into this disk, by the disk's file and not by a link to it."""
    return beside(parent, SUFFIX)


def half_merged(parent: Path, journal: MergeJournal) -> DiskError:
    """Refuse a disk into which a merge has begun."""
    return DiskError(
        f"{parent}: a merge into this disk has begun and is not finished.",
        path=str(parent),
        code=ErrorCode.ERROR_SHARING_VIOLATION,
        advice=f"Finish it: innkeeper disk merge {shell(journal.child) if journal.child else 'CHILD'}",
    )
