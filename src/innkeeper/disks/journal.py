"""Remember that a merge has begun, beside the parent, until it is finished.

The journal is there, and durable, before the first byte of the parent changes. While it is there the parent
alone is neither one disk nor the other: nobody gets it by itself, and the child that is merged takes no
more writes. The child over the parent still reads right at every moment, as its own sectors hide those
already copied.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import json
import os
import uuid
from pathlib import Path

from innkeeper.disks.oserror import adapted
from innkeeper.disks.paths import sync_folder
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
    #: Where the child was, for the sentence that tells how to finish.
    child: Path
    #: Everything before this byte of the disk is merged, durably.
    done: int = 0

    @property
    def is_over(self) -> bool:
        """Whether nothing is left but to remove the journal."""
        return self.state is MergeState.MERGED and not self.child.exists()

    def write(self, parent: Path) -> None:
        """Put the journal beside the parent, durably, all of it or none."""
        target = journal_path(parent)
        draft = target.with_name(target.name + ".new")
        with adapted(target):
            with draft.open("w", encoding="utf-8") as stream:
                stream.write(self._text())
                stream.flush()
                os.fsync(stream.fileno())
            draft.replace(target)
            sync_folder(target.parent)

    def _text(self) -> str:
        return json.dumps(
            {
                "what": "A merge of virtual hard disks has begun. Finish it: innkeeper disk merge <child>",
                "state": self.state,
                "child": os.fspath(self.child),
                "child_id": str(self.child_id),
                "parent_id": str(self.parent_id),
                "done": self.done,
            },
            indent=1,
        )


def read(parent: Path) -> MergeJournal | None:
    """Look whether a merge into this disk has begun."""
    path = journal_path(parent)
    try:
        with path.open(encoding="utf-8") as stream:
            fields = json.loads(stream.read(_LONGEST))
        return MergeJournal(
            state=MergeState(fields["state"]),
            child_id=uuid.UUID(fields["child_id"]),
            parent_id=uuid.UUID(fields["parent_id"]),
            child=Path(fields["child"]),
            done=int(fields["done"]),
        )
    except FileNotFoundError:
        return None
    except OSError as exc:
        with adapted(path):
            raise exc
    except (ValueError, KeyError, TypeError) as exc:
        raise DiskError(
            f"{path}: the journal of a merge cannot be read.",
            path=str(parent),
            code=ErrorCode.VM_E_INVALID_HD_FILE,
            advice="A merge into this disk has begun. Merge its child again to finish it, "
            "after moving the journal away.",
        ) from exc


def remove(parent: Path) -> None:
    """Forget the merge, durably."""
    path = journal_path(parent)
    with adapted(path):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        sync_folder(path.parent)


def journal_path(parent: Path) -> Path:
    """Name the journal of merges into this disk, by the file and not by a link to it."""
    real = Path(os.path.realpath(parent))
    return real.with_name(real.name[: 250 - len(SUFFIX)] + SUFFIX)


def half_merged(parent: Path, journal: MergeJournal) -> DiskError:
    """Refuse a disk into which a merge has begun."""
    return DiskError(
        f"{parent}: a merge into this disk has begun and is not finished.",
        path=str(parent),
        code=ErrorCode.ERROR_SHARING_VIOLATION,
        advice=f"Finish it: innkeeper disk merge {journal.child}",
    )
